//! How far a watch is, and the token by which it goes on elsewhere.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_revocation::Sequence;

use crate::error::Error;
use crate::replica::Mirror;

/// The longest token that can be one of ours: 64 partitions, each with two numbers of 20 digits and one of 3.
const LONGEST: usize = 8192;
/// The first word of a token: another layout has another one.
const LAYOUT: &str = "1";

/// How far a partition was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The last entry that was sent, or looked at and left out: its id in the stream, and its number.
    pub(super) at: Option<(Arc<str>, u64)>,
    /// Everything up to this number was sent, or has been forgotten. At least that of `at`.
    pub(super) seq: u64,
}

/// What a resume token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Whether the caller's replica is whole.
    pub(super) whole: bool,
    /// How far each partition was sent.
    pub(super) places: Vec<Place>,
}

// === impl Token ===

impl Token {
    /// The opaque text for a watch of `tenant`.
    pub(super) fn encode(whole: bool, places: &[Place], tenant: Option<&str>) -> String {
        let mut text = format!("{LAYOUT} {} {}", if whole { "w" } else { "p" }, tenant.unwrap_or("-"));
        for place in places {
            match &place.at {
                Some((id, seq)) => text.extend([" ", id, "/", &seq.to_string()]),
                None => text.push_str(" -"),
            }
        }
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads the text back; `None` if it is none, or of a watch of another tenant.
    pub(super) fn parse(text: &str, tenant: Option<&str>) -> Option<Token> {
        if text.len() > LONGEST {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut words = text.split(' ');
        let (layout, state, owner) = (words.next()?, words.next()?, words.next()?);
        if layout != LAYOUT || owner != tenant.unwrap_or("-") {
            return None;
        }
        let whole = match state {
            "w" => true,
            "p" => false,
            _ => return None,
        };
        let places: Option<Vec<Place>> = words.map(Place::parse).collect();
        places.filter(|places| !places.is_empty()).map(|places| Token { whole, places })
    }
}

// === impl Place ===

impl Place {
    fn parse(word: &str) -> Option<Place> {
        if word == "-" {
            return Some(Place::default());
        }
        let (id, seq) = word.split_once('/')?;
        let seq = number(seq)?;
        parts(id)?;
        Some(Place { at: Some((id.into(), seq)), seq })
    }
}

/// Whether the feed still holds each place's entry, as it was: then nothing after it was forgotten or rewritten.
///
/// # Errors
///
/// The store's.
pub(super) async fn can_be_followed(mirror: &Mirror, places: &[Place], partitions: u32) -> Result<bool, Error> {
    if places.len() != partitions as usize {
        return Ok(false);
    }
    for (partition, place) in (0..).zip(places) {
        let Some((id, seq)) = &place.at else { continue };
        let found = mirror.feed_page(partition, before(id).as_deref(), 1).await?;
        if !found.first().is_some_and(|record| *record.id == **id && record.seq == *seq) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How far all of them are.
pub(super) fn sequence(places: &[Place]) -> Sequence {
    let mut sequence = Sequence::new(u32::try_from(places.len()).unwrap_or(u32::MAX));
    for (partition, place) in (0..).zip(places) {
        sequence.set(partition, place.seq);
    }
    sequence
}

/// The id before `id`; `None` for the first that there is.
fn before(id: &str) -> Option<String> {
    match parts(id)? {
        (0, 0) => None,
        (ms, 0) => Some(format!("{}-{}", ms - 1, u64::MAX)),
        (ms, n) => Some(format!("{ms}-{}", n - 1)),
    }
}

fn parts(id: &str) -> Option<(u64, u64)> {
    let (ms, n) = id.split_once('-')?;
    Some((number(ms)?, number(n)?))
}

/// Digits only: what goes into a command must not be more than a number.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<Place> {
        vec![Place { at: Some(("1790000000123-456".into(), 7)), seq: 9 }, Place { at: None, seq: 3 }]
    }

    #[test]
    fn a_token_is_read_back_by_a_watch_of_the_same_tenant_alone() {
        let text = Token::encode(true, &places(), Some("acme"));
        let token = Token::parse(&text, Some("acme")).expect("its own");
        assert!(token.whole);
        // What was forgotten is not remembered: whoever resumes is told anew how far all is.
        assert_eq!(token.places, [Place { at: Some(("1790000000123-456".into(), 7)), seq: 7 }, Place::default()]);
        assert_eq!(Token::parse(&text, Some("other")), None);
        assert_eq!(Token::parse(&text, None), None);
        let all = Token::encode(false, &places(), None);
        assert_eq!(Token::parse(&all, None).map(|token| token.whole), Some(false));
        assert_eq!(Token::parse(&all, Some("acme")), None);
    }

    #[test]
    fn anything_else_is_no_token() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for text in [
            "1 w acme",
            "2 w acme -",
            "1 x acme -",
            "1 w acme 1-1",
            "1 w acme 1/1",
            "1 w acme 1-x/1",
            "1 w acme +1-1/1",
            "1 w acme -  -",
        ] {
            assert_eq!(Token::parse(&encoded(text), Some("acme")), None, "{text}");
        }
        for text in ["", "yesterday", "%%%", &"A".repeat(LONGEST + 1)] {
            assert_eq!(Token::parse(text, Some("acme")), None, "{text}");
        }
    }

    #[test]
    fn the_id_before() {
        assert_eq!(before("5-3").as_deref(), Some("5-2"));
        assert_eq!(before("5-0").as_deref(), Some("4-18446744073709551615"));
        assert_eq!(before("0-0"), None);
    }

    #[test]
    fn a_sequence_tells_of_what_was_forgotten_too() {
        let sequence = sequence(&places());
        assert_eq!((sequence.get(0), sequence.get(1)), (9, 3));
    }
}

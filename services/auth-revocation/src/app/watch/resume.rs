//! Resume points of a watch, and the token by which it goes on elsewhere.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use keyplane_revocation::Sequence;

use crate::error::Error;
use crate::store::Store;

/// Longest token, in bytes: 64 partitions, each with two numbers of 20 digits and one of 3.
const LONGEST: usize = 8192;
/// First word of a token, which names its layout.
const LAYOUT: &str = "1";

/// Position that was sent of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// Id in the stream, and number, of the last entry that was sent, or left out as another tenant's.
    pub(super) at: Option<(Arc<str>, u64)>,
    /// Number up to which everything was sent, or has been forgotten. At least that of `at`.
    pub(super) seq: u64,
}

/// Contents of a resume token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResumeToken {
    /// Set if the caller's replica is complete.
    pub(super) complete: bool,
    /// Position of each partition.
    pub(super) points: Vec<ResumePoint>,
}

// === impl ResumeToken ===

impl ResumeToken {
    /// Encodes the opaque text for a watch of `tenant`.
    pub(super) fn encode(complete: bool, points: &[ResumePoint], tenant: Option<&str>) -> String {
        let mut text = format!("{LAYOUT} {} {}", if complete { "w" } else { "p" }, tenant.unwrap_or("-"));
        for point in points {
            match &point.at {
                Some((id, seq)) => text.extend([" ", id, "/", &seq.to_string()]),
                None => text.push_str(" -"),
            }
        }
        BASE64URL_NOPAD.encode(text.as_bytes())
    }

    /// Decodes the text; `None` if it is malformed, or of a watch of another tenant.
    pub(super) fn parse(text: &str, tenant: Option<&str>) -> Option<ResumeToken> {
        if text.len() > LONGEST {
            return None;
        }
        let text = String::from_utf8(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()?;
        let mut words = text.split(' ');
        let (layout, state, owner) = (words.next()?, words.next()?, words.next()?);
        if layout != LAYOUT || owner != tenant.unwrap_or("-") {
            return None;
        }
        let complete = match state {
            "w" => true,
            "p" => false,
            _ => return None,
        };
        let points: Option<Vec<ResumePoint>> = words.map(ResumePoint::parse).collect();
        points.filter(|points| !points.is_empty()).map(|points| ResumeToken { complete, points })
    }
}

// === impl ResumePoint ===

impl ResumePoint {
    fn parse(word: &str) -> Option<ResumePoint> {
        if word == "-" {
            return Some(ResumePoint::default());
        }
        let (id, seq) = word.split_once('/')?;
        let seq = number(seq)?;
        parts(id)?;
        Some(ResumePoint { at: Some((id.into(), seq)), seq })
    }
}

/// Returns whether the feed still holds each point's entry as it was: then nothing after it was forgotten or rewritten.
///
/// # Errors
///
/// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
pub(super) async fn can_be_followed(store: &Store, points: &[ResumePoint], partitions: u32) -> Result<bool, Error> {
    if points.len() != partitions as usize {
        return Ok(false);
    }
    for (partition, point) in (0..).zip(points) {
        let Some((id, seq)) = &point.at else { continue };
        let page = store.feed_page(partition, before(id).as_deref(), 1).await?;
        if !page.first().is_some_and(|record| *record.id == **id && record.seq == *seq) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sequence of all points.
pub(super) fn sequence(points: &[ResumePoint]) -> Sequence {
    let mut sequence = Sequence::new(u32::try_from(points.len()).unwrap_or(u32::MAX));
    for (partition, point) in (0..).zip(points) {
        sequence.set(partition, point.seq);
    }
    sequence
}

/// Id before `id`; `None` for the first of all.
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

/// Number of digits alone: nothing else may get into a command.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<ResumePoint> {
        vec![ResumePoint { at: Some(("1790000000123-456".into(), 7)), seq: 9 }, ResumePoint { at: None, seq: 3 }]
    }

    #[test]
    fn a_token_is_valid_for_a_watch_of_its_tenant_alone() {
        let text = ResumeToken::encode(true, &points(), Some("acme"));
        let token = ResumeToken::parse(&text, Some("acme")).expect("its own");
        assert!(token.complete);
        // Forgotten numbers are not in the token: the resumed watch sends the sequence anew.
        assert_eq!(
            token.points,
            [ResumePoint { at: Some(("1790000000123-456".into(), 7)), seq: 7 }, ResumePoint::default()]
        );
        assert_eq!(ResumeToken::parse(&text, Some("other")), None);
        assert_eq!(ResumeToken::parse(&text, None), None);
        let all = ResumeToken::encode(false, &points(), None);
        assert_eq!(ResumeToken::parse(&all, None).map(|token| token.complete), Some(false));
        assert_eq!(ResumeToken::parse(&all, Some("acme")), None);
    }

    #[test]
    fn malformed_text_is_no_token() {
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
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
            assert_eq!(ResumeToken::parse(&encoded(text), Some("acme")), None, "{text}");
        }
        for text in ["", "yesterday", "%%%", &"A".repeat(LONGEST + 1)] {
            assert_eq!(ResumeToken::parse(text, Some("acme")), None, "{text}");
        }
    }

    #[test]
    fn the_id_before_another() {
        assert_eq!(before("5-3").as_deref(), Some("5-2"));
        assert_eq!(before("5-0").as_deref(), Some("4-18446744073709551615"));
        assert_eq!(before("0-0"), None);
    }

    #[test]
    fn a_sequence_covers_forgotten_entries_too() {
        let sequence = sequence(&points());
        assert_eq!((sequence.get(0), sequence.get(1)), (9, 3));
    }
}

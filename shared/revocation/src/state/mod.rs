//! State of a target, and the text in which the store and the feed keep it.

use std::fmt::Write as _;

use crate::target::Target;
use crate::text::{self, Malformed};
use crate::time::{Millis, Version};

/// Session that a cutoff leaves alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// Claim `sid`.
    pub sid: Box<str>,
    /// Earlier cutoff that still holds for it, if there is one.
    pub cutoff: Option<Millis>,
}

/// State of a target: the whole of it, never a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Set if the revocation was undone.
    pub undone: bool,
    /// Moment from which it can be forgotten.
    pub expires: Millis,
    /// Cutoff: tokens up to this moment are revoked. `None` where all are: token, session, key.
    pub cutoff: Option<Millis>,
    /// Claim `exp` of the token, where one token is revoked and its `exp` is known.
    pub token_expires: Option<Millis>,
    /// Sessions that the cutoff leaves alone.
    pub kept: Vec<Kept>,
}

/// Entry of the feed: the state of a target since a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Target of the revocation.
    pub target: Target,
    /// State of the target.
    pub state: State,
    /// Version of the state. Of two entries of one target the one with the higher version holds.
    pub version: Version,
}

/// Fault of a text that is no state.
const MALFORMED: Malformed = Malformed::new("a state", "it has five parts, R or U, three times, and the kept sessions");

// === impl Kept ===

impl Kept {
    /// Finds the kept session `sid`. `None` if it is not kept, or `sid` is empty.
    pub(crate) fn find<'a>(kept: &'a [Self], sid: &str) -> Option<&'a Self> {
        kept.iter().find(|kept| !sid.is_empty() && *kept.sid == *sid)
    }

    fn decode(text: &str) -> Option<Self> {
        let (sid, cutoff) = text.split_once('=')?;
        Some(Self { sid: text::decode(sid)?, cutoff: optional(cutoff)? })
    }
}

// === impl State ===

impl State {
    /// Returns whether it holds: neither undone nor expired.
    pub fn holds(&self, now: Millis) -> bool {
        !self.undone && self.expires > now
    }

    /// Encodes the text in the store and in the feed: `R` (revoked) or `U` (undone), expiry, cutoff, the token's `exp`,
    /// and
    /// `sid=cutoff` of each kept session with `,` between; the five with `;` between. Times are in milliseconds, sids
    /// as [`text::encode`] makes them; a missing part is empty.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(48);
        out.push(if self.undone { 'U' } else { 'R' });
        for time in [Some(self.expires), self.cutoff, self.token_expires] {
            out.push(';');
            push_time(&mut out, time);
        }
        for (index, kept) in self.kept.iter().enumerate() {
            out.push(if index == 0 { ';' } else { ',' });
            text::push(&mut out, &kept.sid);
            out.push('=');
            push_time(&mut out, kept.cutoff);
        }
        if self.kept.is_empty() {
            out.push(';');
        }
        out
    }

    /// Decodes a text of [`State::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for any other text.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or(MALFORMED)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let undone = match parts.next()? {
            "R" => false,
            "U" => true,
            _ => return None,
        };
        let expires = Millis(text::number(parts.next()?)?);
        let (cutoff, token_expires) = (optional(parts.next()?)?, optional(parts.next()?)?);
        let kept = match parts.next()? {
            "" => Vec::new(),
            kept => kept.split(',').map(Kept::decode).collect::<Option<_>>()?,
        };
        parts.next().is_none().then_some(Self { undone, expires, cutoff, token_expires, kept })
    }
}

fn push_time(out: &mut String, time: Option<Millis>) {
    if let Some(time) = time {
        // Writing to a String can't fail.
        let _ = write!(out, "{time}");
    }
}

/// Decodes an optional time; `None` if it is malformed.
fn optional(text: &str) -> Option<Option<Millis>> {
    if text.is_empty() { Some(None) } else { text::number(text).map(|millis| Some(Millis(millis))) }
}

#[cfg(test)]
pub(crate) mod tests;

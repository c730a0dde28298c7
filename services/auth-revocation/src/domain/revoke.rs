//! Revocations: what is asked for, what is stored, and what a write returns.

use keyplane_audit::Cause;
use keyplane_revocation::{Millis, Sequence, State, Target, Version};

/// Revocation to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// Target that it covers.
    pub target: Target,
    /// Tokens of the target that it covers. Always [`Cutoff::All`] for a token, a session and a key, never for the
    /// others.
    pub cutoff: Cutoff,
    /// Expiry. For a token: its `exp`, if that is known. Else: shortest time that it holds; `None` for as long as a
    /// token that it covers may live (a key: 400 days).
    pub expires: Option<Millis>,
    /// False where a caller states a token's `exp` without proof. The token is held then as one of unknown `exp`, where
    /// every check looks.
    pub exp_is_proven: bool,
    /// Sessions (`sid`) that a cutoff leaves alone. At most 16.
    pub keep: Vec<Box<str>>,
    /// Initiator and reason.
    pub cause: Cause,
}

/// Tokens that a revocation covers, by their time of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// Tokens of any time of issue.
    All,
    /// Tokens issued before the store makes the revocation.
    Now,
    /// Tokens issued up to this moment, which is not in the future by the store's clock.
    At(Millis),
}

/// Revocation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Target that it covers.
    pub target: Target,
    /// State of the revocation.
    pub state: State,
    /// Version: time of the last change, in µs of the store's clock or a little more. In decimal it is the etag.
    pub version: Version,
}

/// Durability of an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Held by the primary alone: a failover of the store may lose it.
    PrimaryOnly,
    /// Held by the primary, and by as many replicas of the store as are wanted.
    Replicated,
}

/// Effect of a call on the revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Change: it was made, changed, or undone; the feed and the audit have an entry.
    Changed,
    /// Repetition: it was like that before.
    Unchanged,
    /// Expiry: all that it would cover has expired by the store's clock, and nothing was written. `record` is what
    /// would have been written, with the version 0.
    Expired,
}

/// Acknowledged write of a revocation.
#[derive(Clone, Debug)]
pub struct Written {
    /// Revocation as it is now.
    pub record: Record,
    /// Sequence that covers the write: an instance that has applied it has applied the write.
    pub sequence: Sequence,
    /// Durability of the write.
    pub durability: Durability,
    /// Effect of the call.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_durability_is_the_least() {
        assert_eq!([Durability::Replicated, Durability::PrimaryOnly].into_iter().min(), Some(Durability::PrimaryOnly));
    }
}

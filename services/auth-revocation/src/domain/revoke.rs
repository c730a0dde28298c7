//! Revocations: what is asked for, what is stored, and what a write returns.

use keyplane_revocation::{Millis, Sequence, State, Target, Version};

/// Revocation to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// Target that it covers.
    pub target: Target,
    /// Tokens of the target that it covers. Always [`Cutoff::All`] for a token, a session and a key, never for the others.
    pub cutoff: Cutoff,
    /// Expiry. For a token: its `exp`, if that is known. Else: shortest time that it holds; `None` for as long as a token
    /// that it covers may live (a key: 400 days).
    pub expires: Option<Millis>,
    /// False where a caller states a token's `exp` without proof. The token is held then as one of unknown `exp`, where every
    /// check looks.
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

/// Initiator and reason of a change: for the audit alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Reason of the change.
    pub reason: Reason,
    /// Name of the initiator; at most 128 bytes.
    pub initiator: String,
    /// Description in words; at most 256 bytes, never a token.
    pub description: String,
}

/// Reason of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Unspecified reason.
    #[default]
    Unspecified,
    /// Logout of the user.
    Logout,
    /// Deactivation of the account.
    Deactivated,
    /// Change of a password or another credential.
    CredentialChange,
    /// Theft, certain or suspected, of a token, a key or a device.
    Compromised,
    /// Decision of a person.
    Administrative,
    /// Decision of a rule.
    Policy,
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
    /// Expiry: all that it would cover has expired by the store's clock, and nothing was written. `record` is what would have
    /// been written, with the version 0.
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

// === impl Reason ===

impl Reason {
    /// All reasons, in the order of the contract.
    pub const ALL: [Reason; 7] = [
        Reason::Unspecified,
        Reason::Logout,
        Reason::Deactivated,
        Reason::CredentialChange,
        Reason::Compromised,
        Reason::Administrative,
        Reason::Policy,
    ];

    /// Word in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Unspecified => "",
            Reason::Logout => "logout",
            Reason::Deactivated => "deactivated",
            Reason::CredentialChange => "credential_change",
            Reason::Compromised => "compromised",
            Reason::Administrative => "administrative",
            Reason::Policy => "policy",
        }
    }

    /// Reason of a word in the audit; [`Reason::Unspecified`] for a word of a later release.
    #[must_use]
    pub fn from_word(word: &str) -> Reason {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_as_it_was_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), reason);
        }
        assert_eq!(Reason::from_word("of a later release"), Reason::Unspecified);
    }

    #[test]
    fn the_weakest_durability_is_the_least() {
        assert_eq!([Durability::Replicated, Durability::PrimaryOnly].into_iter().min(), Some(Durability::PrimaryOnly));
    }
}

use keyplane_revocation::{Millis, Sequence, State, Target, Version};

/// Something to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// What it covers.
    pub target: Target,
    /// Up to when. Always [`Cutoff::All`] for a token, a session and a key, and never for the others.
    pub cutoff: Cutoff,
    /// A token: its `exp`, if that is known. Else: until when it holds at least; `None` for as long as a token that it
    /// covers may live (a key: 400 days).
    pub expires: Option<Millis>,
    /// Whether `expires` is certain: false where a caller says a token's `exp`, and nothing proves it. Such a token is
    /// held as one of unknown `exp`, where every check looks.
    pub exp_is_proven: bool,
    /// Sessions (`sid`) that a cutoff leaves alone. At most 16.
    pub keep: Vec<Box<str>>,
    /// Who and why.
    pub cause: Cause,
}

/// Up to when tokens are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// Whenever they were issued.
    All,
    /// Up to the moment at which the store hears of it.
    Now,
    /// Up to this moment, which is not in the future by the store's clock.
    At(Millis),
}

/// Who revoked, and why: for the audit alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Why.
    pub reason: Reason,
    /// Who. At most 128 bytes.
    pub initiator: String,
    /// In words. At most 256 bytes, never a token.
    pub description: String,
}

/// Why something was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Not said.
    #[default]
    Unspecified,
    /// The user logged out.
    Logout,
    /// The account was deactivated.
    Deactivated,
    /// A password or another credential was changed.
    CredentialChange,
    /// A token, a key or a device was stolen, or may have been.
    Compromised,
    /// A person decided so.
    Administrative,
    /// A rule decided so.
    Policy,
}

/// A revocation as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it covers.
    pub target: Target,
    /// Its state.
    pub state: State,
    /// Its version: when it last changed, in µs of the store's clock or a little more. In decimal it is the etag.
    pub version: Version,
}

/// How safe an acknowledged write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The primary has it: a failover of the store may lose it.
    PrimaryOnly,
    /// As many replicas of the store as are wanted have it as well.
    Replicated,
}

/// What a call made of the revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, changed, or taken back: there is an entry in the feed and in the audit.
    Changed,
    /// It was like that before, and all is as it was.
    Unchanged,
    /// All that it would cover has expired by the store's clock: nothing was written, and `record` is what would have been,
    /// with the version 0.
    Expired,
}

/// A revocation that is acknowledged.
#[derive(Clone, Debug)]
pub struct Written {
    /// As it is now.
    pub record: Record,
    /// Whoever has applied this has applied it.
    pub sequence: Sequence,
    /// How safe it is.
    pub durability: Durability,
    /// What the call made of it.
    pub outcome: Outcome,
}

// === impl Reason ===

impl Reason {
    /// All of them, in the order of the contract.
    pub const ALL: [Reason; 7] = [
        Reason::Unspecified,
        Reason::Logout,
        Reason::Deactivated,
        Reason::CredentialChange,
        Reason::Compromised,
        Reason::Administrative,
        Reason::Policy,
    ];

    /// The word under which the audit keeps it.
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

    /// The reason of a word; one of a later release is [`Reason::Unspecified`].
    #[must_use]
    pub fn from_word(word: &str) -> Reason {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_was_written() {
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

//! Erasures: whose memories go, and the receipt that stays.

use std::fmt;

use data_encoding::HEXLOWER;
use keyplane_contracts::names::{Id, TenantId};
use sha2::{Digest as _, Sha256};

use super::memory::Memory;

/// Subject of an erasure or an export, within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// User: all of their memories.
    User(Id),
    /// Agent: memories that it made, of all users and of none.
    Agent(Id),
    /// Session: memories of one conversation.
    Session {
        /// User of the session; none for a shared one.
        user: Option<Id>,
        /// Session.
        session: Id,
    },
}

/// Id of an erasure: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErasureId([u8; 16]);

/// Name of a subject that says nothing about it: a hash with a salt, which proves an erasure to those who know the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym(String);

/// Numbers of what was removed. After a crash of the service, the batch that it interrupted is not counted: at most 256 memories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Memories, history included, those of the next field left out.
    pub memories: u64,
    /// Summaries that were derived from the subject's memories.
    pub summaries: u64,
    /// Cached embeddings.
    pub embeddings: u64,
}

/// Erasure. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Id.
    pub id: ErasureId,
    /// Subject, while the erasure runs; the receipt has the pseudonym alone.
    pub subject: Option<Subject>,
    /// Kind of the subject: `user`, `agent` or `session`.
    pub kind: String,
    /// Pseudonym of the subject.
    pub pseudonym: Pseudonym,
    /// Start.
    pub started: i64,
    /// End; none while it runs.
    pub finished: Option<i64>,
    /// Numbers of what was removed so far.
    pub removed: Removed,
}

// === impl Subject ===

impl Subject {
    /// Returns whether `memory` is the subject's.
    #[must_use]
    pub fn made(&self, memory: &Memory) -> bool {
        let scope = &memory.scope;
        match self {
            Subject::User(user) => scope.owner.user.as_ref() == Some(user),
            Subject::Agent(agent) => scope.agent.as_ref() == Some(agent),
            Subject::Session { user, session } => scope.owner.user == *user && scope.session.as_ref() == Some(session),
        }
    }

    /// Kind: `user`, `agent` or `session`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::User(_) => "user",
            Subject::Agent(_) => "agent",
            Subject::Session { .. } => "session",
        }
    }

    /// Parses the text of a subject.
    #[must_use]
    pub fn parse(text: &str) -> Option<Subject> {
        let mut parts = text.split('\n');
        let id = |part: &str| Id::parse(part, "subject").ok();
        let subject = match (parts.next()?, parts.next()?, parts.next()) {
            ("user", user, None) => Subject::User(id(user)?),
            ("agent", agent, None) => Subject::Agent(id(agent)?),
            ("session", "", Some(session)) => Subject::Session { user: None, session: id(session)? },
            ("session", user, Some(session)) => Subject::Session { user: Some(id(user)?), session: id(session)? },
            _ => return None,
        };
        parts.next().is_none().then_some(subject)
    }
}

/// Unambiguous: ids have no line break.
impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(id) | Subject::Agent(id) => write!(formatter, "{}\n{}", self.kind(), id.as_str()),
            Subject::Session { user, session } => {
                write!(formatter, "session\n{}\n{}", user.as_ref().map_or("", Id::as_str), session.as_str())
            }
        }
    }
}

// === impl ErasureId ===

impl ErasureId {
    /// Id of random bits.
    #[must_use]
    pub fn new(bits: [u8; 16]) -> ErasureId {
        ErasureId(bits)
    }

    /// Parses 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<ErasureId> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(ErasureId)
    }
}

impl fmt::Display for ErasureId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

// === impl Pseudonym ===

impl Pseudonym {
    /// Pseudonym `<salt>.<hash>`: SHA-256 over salt, tenant and subject, cut to 128 bits.
    #[must_use]
    pub fn new(tenant: &TenantId, subject: &Subject, salt: [u8; 16]) -> Pseudonym {
        let mut hash = Sha256::new();
        hash.update(salt);
        hash.update(tenant.as_str());
        hash.update([0]);
        hash.update(subject.to_string());
        Pseudonym(format!("{}.{}", HEXLOWER.encode(&salt), HEXLOWER.encode(&hash.finalize()[..16])))
    }

    /// Pseudonym as a store kept it.
    #[must_use]
    pub fn stored(text: &str) -> Pseudonym {
        Pseudonym(text.to_owned())
    }

    /// Pseudonym as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is a pseudonym of `subject`.
    #[must_use]
    pub fn names(&self, tenant: &TenantId, subject: &Subject) -> bool {
        let salt = self.0.split('.').next().and_then(|salt| HEXLOWER.decode(salt.as_bytes()).ok());
        let salt = salt.and_then(|salt| <[u8; 16]>::try_from(salt).ok());
        salt.is_some_and(|salt| Pseudonym::new(tenant, subject, salt) == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse(text, "id").unwrap()
    }

    fn subjects() -> [Subject; 4] {
        [
            Subject::User(id("ada")),
            Subject::Agent(id("ada")),
            Subject::Session { user: Some(id("ada")), session: id("s") },
            Subject::Session { user: None, session: id("ada") },
        ]
    }

    #[test]
    fn subjects_round_trip() {
        for subject in subjects() {
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        }
        for text in ["", "user", "user\n", "user\na\nb", "session\na", "session\na\nb\nc", "other\na"] {
            assert_eq!(Subject::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn pseudonym_is_verified_by_those_who_know_the_subject() {
        let (acme, other) = (TenantId::parse("acme", "tenant").unwrap(), TenantId::parse("other", "tenant").unwrap());
        for subject in subjects() {
            let pseudonym = Pseudonym::new(&acme, &subject, [7; 16]);
            assert!(!pseudonym.as_str().contains("ada"));
            assert!(pseudonym.names(&acme, &subject) && !pseudonym.names(&other, &subject));
            assert_eq!(subjects().iter().filter(|other| pseudonym.names(&acme, other)).count(), 1);
        }
        assert!(!Pseudonym::stored("garbage").names(&acme, &subjects()[0]));
    }
}

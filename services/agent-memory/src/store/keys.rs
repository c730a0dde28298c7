//! Names of keys.

use std::fmt;

use keyplane_contracts::names::{Id, TenantId};
use keyplane_valkey::ft::Index;
use keyplane_valkey::{App, Feature, Key};

use crate::domain::{MemoryId, Owner, Partition, SpaceId};

/// Generation of the indexes; another form of the documents takes the next.
const GENERATION: u32 = 1;
/// Owner segment of shared memories; no user's id has this character.
const SHARED: &str = "*";

/// Keys of one partition of a tenant. They share the hash tag `{<tenant>:p<partition>}`, so that one script can use them together:
///
/// | key | holds |
/// |---|---|
/// | `<app>:memory:{<tenant>:p<p>}:m:<id>` | memory (hash) |
/// | `<app>:memory:{<tenant>:p<p>}:expiry` | ids of memories, by their expiry in ms (zset) |
/// | `<app>:memory:{<tenant>:p<p>}:owners` | owners, by their last write in ms (zset) |
/// | `<app>:memory~<space>~g1:{<tenant>:p<p>}:<id>.<piece>` | vector of a large owner's item (hash), covered by the space's index |
pub(super) struct Keys<'a> {
    app: &'a App,
    tenant: &'a TenantId,
    partition: Partition,
    subject: String,
}

/// Keys of one owner, within those of its partition; `<owner>` is the user's id, or `*` for shared memories:
///
/// | key | holds |
/// |---|---|
/// | `…:o:<owner>` | directory: counters, records with their next sequences (hash) |
/// | `…:r:<owner>:<session, or #n>` | record: sequence → packed item (hash) |
/// | `…:subj:<owner>` | hash of a subject → id of its current memory (hash) |
/// | `…:post:<owner>:<term>` | postings of a term, by impact (zset); kept for large owners alone |
/// | `…:seen:<owner>` | hashes of recalled texts, by time (zset) |
pub(super) struct OwnerKeys<'a> {
    keys: Keys<'a>,
    owner: &'a str,
}

/// Record of an owner: a session's, or one of those that memories without a session share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordName {
    /// Record number of memories without a session.
    Number(u32),
    /// Session.
    Session(Id),
}

// === impl RecordName ===

impl RecordName {
    /// Parses the text of a name; none for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<RecordName> {
        match text.strip_prefix('#') {
            Some(number) => number.parse().ok().map(RecordName::Number),
            None => Id::parse(text, "session").ok().map(RecordName::Session),
        }
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordName::Number(number) => write!(formatter, "#{number}"),
            RecordName::Session(session) => formatter.write_str(session.as_str()),
        }
    }
}

// === impl Keys ===

impl<'a> Keys<'a> {
    pub(super) fn new(app: &'a App, tenant: &'a TenantId, partition: Partition) -> Keys<'a> {
        Keys { app, tenant, partition, subject: format!("p{}", partition.number()) }
    }

    pub(super) fn memory(&self, id: MemoryId) -> Key {
        self.key(&["m", &id.to_string()])
    }

    pub(super) fn expiry(&self) -> Key {
        self.key(&["expiry"])
    }

    pub(super) fn owners(&self) -> Key {
        self.key(&["owners"])
    }

    pub(super) fn vector(&self, space: &SpaceId, id: MemoryId, piece: usize) -> Key {
        let parts = [format!("{id}.{piece}")];
        let index = index(self.app, space);
        Key::indexed(&index, self.tenant.as_str(), u32::from(self.partition.number()), &[&parts[0]])
    }

    fn key(&self, parts: &[&str]) -> Key {
        Key::tagged(self.app, Feature::MEMORY, self.tenant.as_str(), &self.subject, parts)
    }
}

// === impl OwnerKeys ===

impl<'a> OwnerKeys<'a> {
    pub(super) fn new(app: &'a App, owner: &'a Owner) -> OwnerKeys<'a> {
        OwnerKeys { keys: Keys::new(app, &owner.tenant, owner.partition()), owner: segment(owner) }
    }

    /// Keys of the owner's partition.
    pub(super) fn partition(&self) -> &Keys<'a> {
        &self.keys
    }

    pub(super) fn directory(&self) -> Key {
        self.keys.key(&["o", self.owner])
    }

    pub(super) fn record(&self, record: &RecordName) -> Key {
        self.keys.key(&["r", self.owner, &record.to_string()])
    }

    pub(super) fn subjects(&self) -> Key {
        self.keys.key(&["subj", self.owner])
    }

    pub(super) fn postings(&self, term: u32) -> Key {
        self.keys.key(&["post", self.owner, &format!("{term:08x}")])
    }

    pub(super) fn seen(&self) -> Key {
        self.keys.key(&["seen", self.owner])
    }
}

/// Segment of an owner in keys, and its name in the partition's list of owners.
pub(super) fn segment(owner: &Owner) -> &str {
    owner.user.as_ref().map_or(SHARED, Id::as_str)
}

/// Owner of a segment; none for a text that no owner has.
pub(super) fn owner(tenant: &TenantId, segment: &str) -> Option<Owner> {
    let user = if segment == SHARED { None } else { Some(Id::parse(segment, "user").ok()?) };
    Some(Owner { tenant: tenant.clone(), user })
}

/// Partitions with memories, by the time of their next maintenance in ms (zset). No tenant has this name.
pub(super) fn due(app: &App) -> Key {
    Key::tagged(app, Feature::MEMORY, "~", "due", &[])
}

/// Index of a space's vectors.
pub(super) fn index(app: &App, space: &SpaceId) -> Index {
    Index::new(app, Feature::MEMORY, space.as_str(), GENERATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_an_owner_share_the_hash_tag_of_its_partition() {
        let app = App::new("portal").expect("a name");
        let tenant = TenantId::parse("acme", "tenant").expect("a tenant");
        let user = Owner { tenant: tenant.clone(), user: Some(Id::parse("u|1", "user").expect("an id")) };
        let shared = Owner { tenant: tenant.clone(), user: None };
        let number = user.partition().number();
        let keys = OwnerKeys::new(&app, &user);
        assert_eq!(keys.directory().as_str(), format!("portal:memory:{{acme:p{number}}}:o:u%7C1"));
        assert_eq!(
            keys.record(&RecordName::Number(3)).as_str(),
            format!("portal:memory:{{acme:p{number}}}:r:u%7C1:%233")
        );
        let id = MemoryId::new(user.partition(), [1; 16]);
        let space = SpaceId::parse("minilm").expect("a space");
        assert_eq!(
            keys.partition().vector(&space, id, 2).as_str(),
            format!("portal:memory~minilm~g1:{{acme:p{number}}}:{id}.2")
        );
        assert_eq!(OwnerKeys::new(&app, &shared).directory().as_str().rsplit(':').next(), Some("%2A"));
        for each in [user, shared] {
            assert_eq!(owner(&tenant, segment(&each)), Some(each));
        }
    }

    #[test]
    fn record_names_round_trip() {
        let session = RecordName::Session(Id::parse("s-1", "session").expect("an id"));
        for name in [RecordName::Number(12), session] {
            assert_eq!(RecordName::parse(&name.to_string()), Some(name));
        }
        for text in ["", "#", "#x", "a b"] {
            assert_eq!(RecordName::parse(text), None, "{text}");
        }
    }
}

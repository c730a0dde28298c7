//! Memories as callers see them.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use data_encoding::HEXLOWER;

use super::scope::{Partition, Scope};
use super::space::SpaceId;

/// Id of a memory: two hexadecimal digits of its partition, and 32 of a hash of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoryId {
    partition: Partition,
    hash: [u8; 16],
}

/// Kind of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Fact.
    Semantic = 1,
    /// Event.
    Episodic = 2,
    /// Way of doing something.
    Procedural = 3,
    /// Reasoning step, or the result of a tool.
    Step = 4,
    /// Summary by the caller of other memories.
    Summary = 5,
    /// Part of a document.
    Chunk = 6,
    /// Message of a session.
    Message = 7,
}

/// Current or superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Current.
    Current,
    /// Superseded by another memory: kept as history, never recalled as current.
    Superseded {
        /// Memory that took its place.
        by: MemoryId,
        /// Moment since which it is not valid, in milliseconds since 1970.
        at: i64,
    },
}

/// Origin of a memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Caller's name of the origin: a document, a tool, a message. Empty if unknown.
    pub reference: String,
    /// Memories from which the caller derived it.
    pub derived_from: Vec<MemoryId>,
    /// Id of the session's event that it came from.
    pub event: Option<CompactString>,
}

/// Memory. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Id.
    pub id: MemoryId,
    /// Scope.
    pub scope: Scope,
    /// Kind.
    pub kind: Kind,
    /// Text.
    pub text: String,
    /// Name of who said it; empty if nobody.
    pub speaker: CompactString,
    /// Fact that the text states about; a newer memory of the same subject supersedes it. Empty for none.
    pub subject: CompactString,
    /// Topics.
    pub topics: Vec<CompactString>,
    /// Entities.
    pub entities: Vec<CompactString>,
    /// Tags.
    pub tags: Vec<CompactString>,
    /// Values that the service keeps and returns, and reads nothing of.
    pub metadata: BTreeMap<String, String>,
    /// Importance, 0 to 1.
    pub importance: f32,
    /// Pinned: never evicted.
    pub pinned: bool,
    /// Moment of the event that it tells of.
    pub event_time: i64,
    /// Moment of its first write.
    pub created: i64,
    /// Moment of the last recall that used it.
    pub accessed: i64,
    /// Number of recalls that used it.
    pub access_count: u32,
    /// First moment of validity; none if always.
    pub valid_from: Option<i64>,
    /// First moment after validity; none if open.
    pub valid_until: Option<i64>,
    /// Expiry.
    pub expires: i64,
    /// Current, or superseded.
    pub state: State,
    /// Memory that it superseded.
    pub supersedes: Option<MemoryId>,
    /// Origin.
    pub source: Source,
    /// Space of its vectors; none while it is not embedded.
    pub space: Option<SpaceId>,
    /// Tokens of the text, by the service's tokenizer.
    pub tokens: u32,
    /// Revision; grows with each change.
    pub revision: i64,
}

// === impl MemoryId ===

impl MemoryId {
    /// Id from its parts.
    #[must_use]
    pub fn new(partition: Partition, hash: [u8; 16]) -> MemoryId {
        MemoryId { partition, hash }
    }

    /// Parses an id; none if `text` is not two digits of a partition and 32 of a hash, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<MemoryId> {
        let bytes: [u8; 17] = HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()?;
        let [partition, hash @ ..] = bytes;
        Some(MemoryId { partition: Partition::new(partition)?, hash })
    }

    /// Partition of the memory.
    #[must_use]
    pub fn partition(self) -> Partition {
        self.partition
    }

    /// Hash of the content.
    #[must_use]
    pub fn hash(self) -> [u8; 16] {
        self.hash
    }
}

impl fmt::Display for MemoryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x}{}", self.partition.number(), HEXLOWER.encode(&self.hash))
    }
}

// === impl Kind ===

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] =
        [Kind::Semantic, Kind::Episodic, Kind::Procedural, Kind::Step, Kind::Summary, Kind::Chunk, Kind::Message];

    /// Number in records.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_others_are_rejected() {
        let id = MemoryId::new(Partition::new(7).expect("a partition"), [0xab; 16]);
        assert_eq!(id.to_string(), format!("07{}", "ab".repeat(16)));
        assert_eq!(MemoryId::parse(&id.to_string()), Some(id));
        for text in ["", "07ab", &format!("10{}", "ab".repeat(16)), &format!("07{}", "AB".repeat(16))] {
            assert_eq!(MemoryId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_round_trip() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::from_number(kind.number()) == Some(kind)));
        assert_eq!(Kind::from_number(0), None);
    }
}

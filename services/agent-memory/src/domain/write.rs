//! Writes of memories: requests that are checked already, and their results. Times are in milliseconds since 1970.

use std::collections::BTreeMap;

use compact_str::CompactString;
use keyplane_contracts::names::TenantId;

use super::memory::{Kind, Memory, MemoryId};
use super::scope::Scope;

/// Memory to write.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMemory {
    /// Kind.
    pub kind: Kind,
    /// Text, not empty.
    pub text: String,
    /// Name of who said it; empty if nobody.
    pub speaker: CompactString,
    /// Fact that the text states about; empty for none.
    pub subject: CompactString,
    /// Topics.
    pub topics: Vec<CompactString>,
    /// Entities.
    pub entities: Vec<CompactString>,
    /// Tags.
    pub tags: Vec<CompactString>,
    /// Values that the service only keeps.
    pub metadata: BTreeMap<String, String>,
    /// Importance, 0 to 1.
    pub importance: f32,
    /// Pinned: never evicted.
    pub pinned: bool,
    /// Moment of the event; none for the moment of the write.
    pub event_time: Option<i64>,
    /// First moment of validity; none if always.
    pub valid_from: Option<i64>,
    /// First moment after validity; none if open.
    pub valid_until: Option<i64>,
    /// Expiry; none for the default.
    pub expires: Option<i64>,
    /// Caller's name of the origin; empty if unknown.
    pub reference: String,
    /// Memories from which the caller derived it.
    pub derived_from: Vec<MemoryId>,
    /// Caller's embedding, of any length; none if the service embeds.
    pub vector: Option<Vec<f32>>,
}

/// Effect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// New memory.
    Created,
    /// Text that the scope holds already.
    Duplicate,
    /// Text that says the same as one that the scope holds.
    NearDuplicate,
    /// New memory, in place of another one of the same subject.
    Superseded,
}

/// Result of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// New memory, or the earlier one that stays.
    pub id: MemoryId,
    /// Effect.
    pub outcome: Outcome,
    /// Memory that was superseded.
    pub superseded: Option<MemoryId>,
    /// Cosine of a near duplicate.
    pub similarity: Option<f32>,
    /// Number of pieces of a long text; 0 if it is scored whole.
    pub pieces: u32,
    /// Tokens of the text.
    pub tokens: u32,
    /// Expiry.
    pub expires: i64,
    /// Revision.
    pub revision: i64,
}

/// Change of a memory; fields that are none keep their value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryPatch {
    /// Text: another one supersedes the memory.
    pub text: Option<String>,
    /// Caller's embedding of the text.
    pub vector: Option<Vec<f32>>,
    /// Pinned.
    pub pinned: Option<bool>,
    /// Importance, 0 to 1.
    pub importance: Option<f32>,
    /// Topics.
    pub topics: Option<Vec<CompactString>>,
    /// Entities.
    pub entities: Option<Vec<CompactString>>,
    /// Tags.
    pub tags: Option<Vec<CompactString>>,
    /// Metadata to set; other keys keep their value.
    pub metadata: BTreeMap<String, String>,
    /// Keys of metadata to remove.
    pub removed_metadata: Vec<String>,
    /// Expiry; an inner none for the default, counted from the change.
    pub expires: Option<Option<i64>>,
    /// First moment after validity; an inner none opens it.
    pub valid_until: Option<Option<i64>>,
    /// Revision that the memory must have; none accepts any.
    pub revision: Option<i64>,
}

/// Filter of memories. A memory passes if it meets each part; an empty part admits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds, any of which it has.
    pub kinds: Vec<Kind>,
    /// Topics, any of which it has.
    pub topics: Vec<CompactString>,
    /// Entities, any of which it has.
    pub entities: Vec<CompactString>,
    /// Tags, all of which it has.
    pub tags: Vec<CompactString>,
    /// First event time.
    pub event_from: Option<i64>,
    /// Event time before which it is.
    pub event_until: Option<i64>,
    /// True if only pinned memories pass.
    pub pinned: bool,
}

/// States of memories in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum States {
    /// Any.
    All,
    /// Not superseded.
    Current,
    /// Superseded.
    Superseded,
}

/// List of memories. An absent agent, workflow or session means any.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRequest {
    /// Scope.
    pub scope: Scope,
    /// States.
    pub states: States,
    /// Filter.
    pub filter: Filter,
}

/// Page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Memories.
    pub memories: Vec<Memory>,
    /// Position that the next page follows; none on the last one. Without spaces.
    pub next: Option<String>,
}

/// Memories to delete: by id, or all that match.
#[derive(Clone, Debug, PartialEq)]
pub struct ForgetRequest {
    /// Tenant.
    pub tenant: TenantId,
    /// Ids.
    pub ids: Vec<MemoryId>,
    /// Scope and filter; none to delete by id alone.
    pub matching: Option<(Scope, Filter)>,
    /// True to delete nothing, and only return what would be deleted.
    pub dry_run: bool,
}

/// Result of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Deleted memories, at most 1,000.
    pub ids: Vec<MemoryId>,
    /// True if more memories match.
    pub more: bool,
}

// === impl Filter ===

impl Filter {
    /// Returns whether every memory passes.
    #[must_use]
    pub fn admits_all(&self) -> bool {
        *self == Filter::default()
    }
}

//! Collections as callers see them.

use keyplane_contracts::names::CollectionName;

use super::schema::{Field, RankBy, Schema, Synonyms};

/// Collection: its schema, its size, and its rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Resource name.
    pub name: CollectionName,
    /// Schema in force.
    pub schema: Schema,
    /// Etag of the definition; it changes with each change of the schema.
    pub etag: String,
    /// Number of the generation in force; grows with each rebuild.
    pub generation: u32,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of the documents.
    pub bytes: u64,
    /// Time of creation, in microseconds since 1970.
    pub created: i64,
    /// Time of the last change of the schema, in microseconds since 1970.
    pub updated: i64,
    /// Last rebuild; absent before the first one.
    pub rebuild: Option<Rebuild>,
    /// Moment until which a rollback can return to the earlier generation, in milliseconds since 1970; absent without one.
    pub rollback_until: Option<i64>,
}

/// Rebuild of a collection into a new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// State of the rebuild.
    pub state: RebuildState,
    /// Generation that the rebuild makes.
    pub generation: u32,
    /// Documents that are copied so far.
    pub copied: u64,
    /// Documents to copy; changes with writes meanwhile.
    pub total: u64,
    /// Time of the start, in microseconds since 1970.
    pub started: i64,
    /// Time of the end, in microseconds since 1970; absent while the rebuild runs.
    pub ended: Option<i64>,
    /// Cause of a failure; empty without one.
    pub error: String,
}

/// State of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildState {
    /// Documents are copied; searches use the earlier generation.
    Running,
    /// The new generation is in force.
    Succeeded,
    /// The rebuild gave up; the earlier generation stays in force.
    Failed,
    /// A rollback cancelled the rebuild, or returned to the earlier generation after it.
    RolledBack,
}

/// Change of a schema: the parts that are present replace the stored ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaPatch {
    /// Fields.
    pub fields: Option<Vec<Field>>,
    /// Synonyms.
    pub synonyms: Option<Vec<Synonyms>>,
    /// Stop words.
    pub stop_words: Option<Vec<String>>,
    /// Ranking by a number; `Some(None)` removes it.
    pub rank_by: Option<Option<RankBy>>,
}

// === impl SchemaPatch ===

impl SchemaPatch {
    /// Returns `schema` with the change.
    #[must_use]
    pub fn apply(&self, schema: &Schema) -> Schema {
        let schema = schema.clone();
        Schema {
            fields: self.fields.clone().unwrap_or(schema.fields),
            synonyms: self.synonyms.clone().unwrap_or(schema.synonyms),
            stop_words: self.stop_words.clone().unwrap_or(schema.stop_words),
            rank_by: self.rank_by.clone().unwrap_or(schema.rank_by),
        }
    }
}

//! Spaces of embeddings, declared by the operator. A space never changes; another model is another space.

use keyplane_contracts::names::Id;

/// Id of a space: `[a-z0-9-]{1,32}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(Id);

/// Index algorithm of a space's vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Every vector is compared: exact.
    Flat,
    /// Hierarchical graph: approximate, for large sets.
    Hnsw,
}

/// Space of embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// Id.
    pub id: SpaceId,
    /// Model's name.
    pub model: String,
    /// Model's revision.
    pub revision: String,
    /// Number of values of a vector.
    pub dimension: u16,
    /// Text put before a query when it is embedded.
    pub query_prefix: String,
    /// Text put before a memory when it is embedded.
    pub passage_prefix: String,
    /// Cosine from which two texts are near duplicates.
    pub threshold: f32,
    /// Index algorithm.
    pub algorithm: Algorithm,
}

// === impl SpaceId ===

impl SpaceId {
    /// Parses an id of a space.
    #[must_use]
    pub fn parse(text: &str) -> Option<SpaceId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&text.len()) || !text.bytes().all(allowed) {
            return None;
        }
        Id::parse(text, "space").ok().map(SpaceId)
    }

    /// Id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

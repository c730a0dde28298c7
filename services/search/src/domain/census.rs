//! Census of a partition: the counters and the checksum that its documents should have.

use std::collections::BTreeMap;

use keyplane_contracts::names::Id;
use sha1::{Digest, Sha1};

use super::indexed::{Content, Indexed};

/// Modulus of checksums: 2^48, within which Lua adds exactly.
const MODULUS: u64 = 1 << 48;

/// Counters and checksum of documents, computed from themselves.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Census {
    /// Counters by name, as the store's scripts count them.
    pub counts: BTreeMap<String, i64>,
    /// Sum over ids and revisions.
    pub checksum: u64,
    /// Terms by document frequency.
    pub terms: BTreeMap<String, i64>,
}

/// Difference of stored counters from a census.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Drift {
    /// Counters with another value, and the right one.
    pub wrong: BTreeMap<String, i64>,
    /// Counters of which there should be none.
    pub spare: Vec<String>,
}

// === impl Census ===

impl Census {
    /// Adds a document.
    pub fn add(&mut self, id: &Id, revision: i64, indexed: &Indexed) {
        self.checksum = (self.checksum + digest(id, revision)) % MODULUS;
        self.count("n", 1);
        self.count("b", length(&indexed.body));
        for (column, content) in &indexed.columns {
            match content {
                Content::Terms(stream) => self.count("t", length(stream)),
                Content::Tokens(tokens) => {
                    for token in tokens.split('|') {
                        self.count(&format!("v:{column}:{token}"), 1);
                    }
                }
                Content::Number(_) => self.count(&format!("p:{column}"), 1),
            }
        }
        for term in indexed.terms.split(' ').filter(|term| !term.is_empty()) {
            *self.terms.entry(term.to_owned()).or_default() += 1;
        }
    }

    fn count(&mut self, counter: &str, by: i64) {
        match self.counts.get_mut(counter) {
            Some(count) => *count += by,
            None => {
                self.counts.insert(counter.to_owned(), by);
            }
        }
    }

    /// Difference of stored counters. A stored 0 equals no counter.
    #[must_use]
    pub fn drift(&self, stored: &BTreeMap<String, i64>) -> Drift {
        let right = self.counts.iter().filter(|(_, count)| **count != 0);
        let wrong = right.filter(|(name, count)| stored.get(*name) != Some(*count));
        let wrong = wrong.map(|(name, count)| (name.clone(), *count)).collect();
        let spare = stored.iter().filter(|(name, count)| **count != 0 && !self.counts.contains_key(*name));
        Drift { wrong, spare: spare.map(|(name, _)| name.clone()).collect() }
    }
}

// === impl Drift ===

impl Drift {
    /// Number of counters that differ.
    #[must_use]
    pub fn size(&self) -> usize {
        self.wrong.len() + self.spare.len()
    }
}

/// Part of a document in a checksum: the first 48 bits of the SHA-1 of its id, a zero byte, and its revision.
fn digest(id: &Id, revision: i64) -> u64 {
    let hash = Sha1::new().chain_update(id.as_str()).chain_update([0]).chain_update(revision.to_string()).finalize();
    hash.iter().take(6).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::CollectionId;

    use super::super::layout::Layout;
    use super::super::schema::{Field, FieldKind, FieldName, Schema};
    use super::super::{Document, Value};
    use super::*;

    fn indexed(tags: &[&str]) -> Indexed {
        let name = FieldName::new("tags").expect("a name");
        let field = Field { name: name.clone(), kind: FieldKind::Tags, sortable: false, facet: true };
        let schema = Schema { fields: vec![field], ..Schema::default() };
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let document =
            Document { id: id("d"), fields: [(name, Value::Tags(tags))].into(), version: None, expires: None };
        let collection = CollectionId::parse("c", "collection").expect("an id");
        Indexed::new(&schema, &Layout::new(&schema), &collection, &document)
    }

    fn id(text: &str) -> Id {
        Id::parse(text, "id").expect("an id")
    }

    #[test]
    fn documents_count_each_of_their_tags() {
        let mut census = Census::default();
        census.add(&id("a"), 1, &indexed(&["x", "y"]));
        census.add(&id("b"), 2, &indexed(&["y"]));
        census.add(&id("c"), 3, &indexed(&[]));
        let count = |name: &str| census.counts.get(name).copied();
        assert_eq!(
            [count("n"), count("v:g0:x"), count("v:g0:y"), count("v:g0:_0")],
            [Some(3), Some(1), Some(2), Some(1)]
        );
    }

    #[test]
    fn checksum_depends_on_ids_and_revisions_and_not_on_the_order() {
        let sum = |documents: &[(&str, i64)]| {
            let mut census = Census::default();
            documents.iter().for_each(|(name, revision)| census.add(&id(name), *revision, &indexed(&[])));
            census.checksum
        };
        assert_eq!(sum(&[("a", 1), ("b", 2)]), sum(&[("b", 2), ("a", 1)]));
        assert_ne!(sum(&[("a", 1), ("b", 2)]), sum(&[("a", 2), ("b", 1)]));
        assert_ne!(sum(&[("a", 1)]), 0);
    }

    #[test]
    fn drift_names_wrong_and_spare_counters() {
        let mut census = Census::default();
        census.add(&id("a"), 1, &indexed(&["x"]));
        let mut stored = census.counts.clone();
        assert_eq!(census.drift(&stored).size(), 0);
        stored.insert("n".to_owned(), 7);
        stored.insert("v:g0:z".to_owned(), 1);
        stored.insert("v:g0:zero".to_owned(), 0);
        let drift = census.drift(&stored);
        assert_eq!((drift.wrong.get("n"), drift.spare, drift.wrong.len()), (Some(&1), vec!["v:g0:z".to_owned()], 1));
    }
}

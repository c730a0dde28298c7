//! Changes of documents, and their results.

use std::collections::BTreeMap;

use super::document::{Document, Value};
use super::schema::FieldName;

/// Change of a document, valid by its collection's schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Values to write.
    pub set: BTreeMap<FieldName, Value>,
    /// Fields whose values are removed.
    pub removed: Vec<FieldName>,
    /// Version of the document at its source; absent keeps the stored one.
    pub version: Option<i64>,
    /// Revision that the change is based on; absent for any.
    pub revision: Option<i64>,
    /// Expiry to write, in milliseconds since 1970; `Some(None)` removes it, absent keeps it.
    pub expires: Option<Option<i64>>,
}

/// Effect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document is new.
    Created,
    /// The document was replaced or changed.
    Updated,
    /// The document was stored with the same content before; nothing was written.
    Unchanged,
}

/// Result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Effect of the write.
    pub outcome: Outcome,
    /// Revision of the document after it.
    pub revision: i64,
    /// Source version of the document after it.
    pub version: Option<i64>,
    /// Time of creation, in microseconds since 1970.
    pub created: i64,
    /// Time of the last change, in microseconds since 1970.
    pub updated: i64,
    /// Moment at which the document expires, in milliseconds since 1970.
    pub expires: Option<i64>,
    /// Freshness token; a search that presents it sees the write.
    pub freshness: String,
}

/// Deletion of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Version of the deletion at the source; an older write does not bring the document back.
    pub version: Option<i64>,
    /// Revision that the document must have; absent for any.
    pub revision: Option<i64>,
    /// True if a missing document is no error.
    pub allow_missing: bool,
}

/// Result of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// True if the document existed.
    pub existed: bool,
    /// Freshness token; a search that presents it no longer sees the document.
    pub freshness: String,
}

// === impl Patch ===

impl Patch {
    /// Returns `document` with the change. The caller compares versions and revisions.
    #[must_use]
    pub fn apply(&self, document: &Document) -> Document {
        let mut fields = document.fields.clone();
        fields.retain(|name, _| !self.removed.contains(name));
        fields.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        Document {
            id: document.id.clone(),
            fields,
            version: self.version.or(document.version),
            expires: self.expires.unwrap_or(document.expires),
        }
    }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::Id;

    use super::*;

    fn name(text: &str) -> FieldName {
        FieldName::new(text).expect("a name")
    }

    #[test]
    fn patch_writes_removes_and_keeps() {
        let value = |text: &str| Value::Text(text.to_owned());
        let document = Document {
            id: Id::parse("d", "id").expect("an id"),
            fields: [(name("a"), value("1")), (name("b"), value("2")), (name("c"), value("3"))].into(),
            version: Some(7),
            expires: Some(1_000),
        };
        let patch = Patch { set: [(name("a"), value("9"))].into(), removed: vec![name("b")], ..Patch::default() };
        let patched = patch.apply(&document);
        assert_eq!(patched.fields, [(name("a"), value("9")), (name("c"), value("3"))].into());
        assert_eq!((patched.version, patched.expires), (Some(7), Some(1_000)));
        let patch = Patch { version: Some(8), expires: Some(None), ..Patch::default() };
        let patched = patch.apply(&document);
        assert_eq!((patched.fields.len(), patched.version, patched.expires), (3, Some(8), None));
    }
}

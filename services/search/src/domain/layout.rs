//! Layout of documents in an index: columns by type and ordinal, so that collections of one shape share an index.

use std::fmt;

use data_encoding::HEXLOWER;
use keyplane_contracts::names::CollectionName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schema::{FieldKind, Schema};

/// Attribute of the index: `t0` (text), `g0` (tag), `n0` (number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Terms of a text field.
    Text(u8),
    /// Tokens of a tag, multi-tag or boolean field.
    Tag(u8),
    /// Number, timestamp, or the sort key of another field.
    Number(u8),
}

/// Columns of a schema's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Column that holds each field's values, by the field's position; none for a stored field.
    pub columns: Vec<Option<Column>>,
    /// Numeric column that orders by each field, by position; none if the field is not sortable.
    pub sort: Vec<Option<Column>>,
    /// Number of columns of each type.
    pub shape: Shape,
}

/// Number of columns of each type. Collections with equal shapes may share an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Text columns.
    pub texts: u8,
    /// Tag columns.
    pub tags: u8,
    /// Numeric columns, sort keys included.
    pub numbers: u8,
}

/// Index of one generation: where its documents' keys lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// Name of the index: `s-t2g3n4` is shared by a shape, `o-<hash>` is one collection's own.
    pub index: String,
    /// Generation of the index.
    pub generation: u32,
    /// Columns of the index.
    pub shape: Shape,
}

/// Generation of a collection: its number, and its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// Number; grows with each rebuild, and is never reused, even by a later collection of the same name.
    pub number: u32,
    /// Index that holds the generation's documents.
    pub placement: Placement,
}

/// Collection that a query is limited to. A query of the index can't be made without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(String);

// === impl Column ===

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Text(ordinal) => write!(f, "t{ordinal}"),
            Column::Tag(ordinal) => write!(f, "g{ordinal}"),
            Column::Number(ordinal) => write!(f, "n{ordinal}"),
        }
    }
}

// === impl Layout ===

impl Layout {
    /// Columns for `schema`: each type counts from 0 in the order of the fields; sort keys of texts, tags and booleans follow
    /// the numbers.
    #[must_use]
    pub fn new(schema: &Schema) -> Layout {
        let mut shape = Shape::default();
        let mut columns = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            columns.push(match field.kind {
                FieldKind::Text { .. } => Some(Column::Text(next(&mut shape.texts))),
                FieldKind::Tag | FieldKind::Tags | FieldKind::Boolean => Some(Column::Tag(next(&mut shape.tags))),
                FieldKind::Integer | FieldKind::Decimal | FieldKind::Timestamp => {
                    Some(Column::Number(next(&mut shape.numbers)))
                }
                FieldKind::Stored => None,
            });
        }
        let sort = schema.fields.iter().zip(&columns).map(|(field, column)| match column {
            Some(Column::Number(_)) if field.sortable => *column,
            Some(Column::Text(_) | Column::Tag(_)) if field.sortable => Some(Column::Number(next(&mut shape.numbers))),
            Some(_) | None => None,
        });
        let sort = sort.collect();
        Layout { columns, sort, shape }
    }
}

/// Next ordinal; a schema has at most 64 fields.
fn next(count: &mut u8) -> u8 {
    let ordinal = *count;
    *count = count.saturating_add(1);
    ordinal
}

// === impl Shape ===

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}g{}n{}", self.texts, self.tags, self.numbers)
    }
}

// === impl Placement ===

impl Placement {
    /// Index that all collections of one shape share; its generations are 0 and 1.
    #[must_use]
    pub fn shared(shape: Shape, generation: u32) -> Placement {
        Placement { index: format!("s-{shape}"), generation, shape }
    }

    /// Index of one collection alone.
    #[must_use]
    pub fn own(name: &CollectionName, shape: Shape, generation: u32) -> Placement {
        let digest = Sha256::digest(format!("{}/{}", name.tenant, name.collection));
        Placement { index: format!("o-{}", HEXLOWER.encode(&digest[..16])), generation, shape }
    }

    /// Returns whether other collections may have documents in the index.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.index.starts_with("s-")
    }
}

// === impl Scope ===

impl Scope {
    /// Scope of a collection: the tag token of `tenant/collection`. Neither id has a character that the encoding uses.
    #[must_use]
    pub fn new(name: &CollectionName) -> Scope {
        let text = format!("{}_2f{}", name.tenant, name.collection);
        Scope(text.replace('-', "_2d"))
    }

    /// Token in the tag column `_s`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Field, FieldName, Language};
    use super::*;

    fn field(name: &str, kind: FieldKind, sortable: bool) -> Field {
        Field { name: FieldName::new(name).expect("a name"), kind, sortable, facet: false }
    }

    #[test]
    fn columns_count_by_type_and_sort_keys_follow_the_numbers() {
        let text = FieldKind::Text { weight: 1.0, language: Language::None };
        let fields = vec![
            field("name", text, true),
            field("status", FieldKind::Tag, false),
            field("amount", FieldKind::Integer, true),
            field("note", FieldKind::Stored, false),
            field("open", FieldKind::Boolean, true),
        ];
        let layout = Layout::new(&Schema { fields, ..Schema::default() });
        let columns: Vec<String> = layout.columns.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(columns, ["t0", "g0", "n0", "g1"]);
        let sort: Vec<Option<Column>> = layout.sort;
        assert_eq!(sort, [Some(Column::Number(1)), None, Some(Column::Number(0)), None, Some(Column::Number(2))]);
        assert_eq!(layout.shape.to_string(), "t1g2n3");
    }

    #[test]
    fn scopes_of_different_collections_differ() {
        let scope = |name: &str| Scope::new(&CollectionName::parse(name, "name").expect("a name")).as_str().to_owned();
        assert_eq!(scope("tenants/a-b/collections/c"), "a_2db_2fc");
        assert_ne!(scope("tenants/a/collections/b-c"), scope("tenants/a-b/collections/c"));
    }
}

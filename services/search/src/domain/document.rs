//! Documents and their values.

use std::collections::BTreeMap;

use keyplane_contracts::names::Id;

use super::schema::FieldName;

/// Document as a caller sends it, valid by its collection's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Id within the collection.
    pub id: Id,
    /// Values; an absent field has none.
    pub fields: BTreeMap<FieldName, Value>,
    /// Caller's version; a smaller one never overwrites a larger one.
    pub version: Option<i64>,
    /// Moment at which the document vanishes, in milliseconds since 1970.
    pub expires: Option<i64>,
}

/// Value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Value of a text or a tag field.
    Text(String),
    /// Values of a multi-valued tag field, in the order of the caller, without repetitions.
    Tags(Vec<String>),
    /// Value of an integer field.
    Integer(i64),
    /// Value of a decimal field.
    Decimal(f64),
    /// Value of a timestamp field, in milliseconds since 1970.
    Timestamp(i64),
    /// Value of a boolean field.
    Boolean(bool),
    /// Value of a stored field, as JSON text.
    Json(String),
}

/// Document as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Document as the caller sent it.
    pub document: Document,
    /// Number of the last change, for compare-and-set; never reused while the document exists.
    pub revision: i64,
    /// Time of creation, in microseconds since 1970.
    pub created: i64,
    /// Time of the last change, in microseconds since 1970.
    pub updated: i64,
}

// === impl Value ===

impl Value {
    /// Number of a numeric value, in the index's unit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "integers and times are within 2^53")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Integer(number) | Value::Timestamp(number) => Some(*number as f64),
            Value::Decimal(number) => Some(*number),
            Value::Text(_) | Value::Tags(_) | Value::Boolean(_) | Value::Json(_) => None,
        }
    }
}

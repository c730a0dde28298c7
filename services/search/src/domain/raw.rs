//! Documents as callers send them, before the schema of their collection is applied: see [`validate`](super::validate).

use keyplane_contracts::names::Id;
use serde_json::{Map, Value as Json};

/// Whole document from a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RawDocument {
    /// Id within the collection.
    pub id: Id,
    /// Values by field name. A null is the same as an absent field.
    pub fields: Map<String, Json>,
    /// Version of the document at its source.
    pub version: Option<i64>,
    /// Moment at which the document expires, in milliseconds since 1970.
    pub expires: Option<i64>,
    /// Path of the document in the request, for violations: `document`, `documents[3]`.
    pub at: String,
}

/// Change of a document from a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawPatch {
    /// Values to write by field name; a null removes the field's value.
    pub fields: Map<String, Json>,
    /// Version of the document at its source.
    pub version: Option<i64>,
    /// Revision that the change is based on; absent for any.
    pub revision: Option<i64>,
    /// Expiry to write; `Some(None)` removes it, absent keeps it.
    pub expires: Option<Option<i64>>,
}

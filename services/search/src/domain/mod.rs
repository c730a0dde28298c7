//! Rules of search: schemas, documents, columns of the index, requests and results. Pure: no I/O, no clock.

pub mod analysis;
pub mod body;
pub mod census;
pub mod change;
pub mod clause;
pub mod collection;
pub mod conversion;
pub mod cursor;
pub mod definition;
pub mod document;
pub mod estimate;
pub mod facets;
pub mod filter;
pub mod freshness;
pub mod highlight;
pub mod indexed;
pub mod layout;
pub mod lexicon;
#[cfg(test)]
pub(crate) mod model;
pub mod packed;
pub mod query;
pub mod rank;
pub mod raw;
pub mod request;
pub mod result;
pub mod schema;
pub mod sort_key;
pub mod spread;
pub mod step;
pub mod token;
pub mod validate;
pub mod writes;

pub use change::Change;
pub use clause::Clause;
pub use collection::{Collection, Rebuild, RebuildState, SchemaPatch};
pub use definition::{Build, CollectionState, Definition, Job, JobCause, JobState, Second};
pub use document::{Document, Stored, Value};
pub use filter::Filter;
pub use layout::{Column, Generation, Layout, Placement, Scope, Shape};
pub use packed::{Packed, Slot};
pub use raw::{RawDocument, RawPatch};
pub use schema::{Field, FieldKind, FieldName, Language, RankBy, Schema, Synonyms};
pub use spread::Spread;
pub use token::Token;
pub use writes::{Deleted, Deletion, Outcome, Patch, Written};

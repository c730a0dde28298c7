//! Rules of schemas, and of documents by their schema. Every broken rule is collected.

mod document;
mod schema;
mod value;

pub use document::{check_text, document, patch};
pub use schema::{fields, schema, words};

//! Fields of a document's hash.

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::Key;

use crate::domain::Scope;
use crate::domain::indexed::{Content, Indexed};

/// Fields of a document's hash that follow from the document, as names and values: columns, scope, spread, packed values, body
/// and terms; the id too if it is so long in a key that the key holds its hash.
#[must_use]
pub fn flat(name: &CollectionName, id: &Id, indexed: &Indexed) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::with_capacity(indexed.columns.len() + 6);
    let mut add = |name: &str, value: Vec<u8>| fields.push((name.to_owned(), value));
    add("_s", Scope::new(name).as_str().into());
    add("_r", indexed.spread.number.to_string().into());
    for (column, content) in &indexed.columns {
        let value = match content {
            Content::Terms(text) | Content::Tokens(text) => text.clone(),
            Content::Number(number) => number.to_string(),
        };
        add(&column.to_string(), value.into());
    }
    add("_f", indexed.packed.clone());
    add("_b", indexed.body.clone().into());
    add("_k", indexed.terms.clone().into());
    if Key::hides(id.as_str()) {
        add("_i", id.as_str().into());
    }
    fields
}

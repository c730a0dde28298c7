//! Fields of a document's hash.

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::Key;
use rmp::encode;

use crate::domain::Scope;
use crate::domain::indexed::{Content, Indexed};

/// Fields of a document's hash that follow from the document: columns, scope, spread, packed values, body and terms; the id
/// too if it is so long in a key that the key holds its hash.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) scope: &'a Scope,
    pub(super) id: &'a Id,
    pub(super) indexed: &'a Indexed,
}

// === impl Fields ===

impl Fields<'_> {
    /// Visits each field, as name and value; the body first.
    fn each(self, mut visit: impl FnMut(&str, &[u8])) {
        let Fields { scope, id, indexed } = self;
        visit("_b", indexed.body.as_bytes());
        visit("_s", scope.as_str().as_bytes());
        visit("_r", indexed.spread.number.to_string().as_bytes());
        for (column, content) in &indexed.columns {
            let name = column.to_string();
            match content {
                Content::Terms(text) | Content::Tokens(text) => visit(&name, text.as_bytes()),
                Content::Number(number) => visit(&name, number.to_string().as_bytes()),
            }
        }
        visit("_f", &indexed.packed);
        visit("_k", indexed.terms.as_bytes());
        if self.hides() {
            visit("_i", id.as_str().as_bytes());
        }
    }

    /// Appends the fields to a message, as one array of names and values.
    pub(super) fn append(self, message: &mut Vec<u8>) {
        let fields = self.indexed.columns.len() + 5 + usize::from(self.hides());
        array(message, 2 * fields);
        self.each(|name, value| {
            string(message, name.as_bytes());
            string(message, value);
        });
    }

    fn hides(self) -> bool {
        Key::hides(self.id.as_str())
    }
}

/// Appends the head of an array in MessagePack.
pub(super) fn array(message: &mut Vec<u8>, length: usize) {
    // Writing to a vector never fails.
    let _ = encode::write_array_len(message, u32::try_from(length).unwrap_or(u32::MAX));
}

/// Appends a string in MessagePack; a script takes any bytes.
pub(super) fn string(message: &mut Vec<u8>, bytes: &[u8]) {
    let _ = encode::write_str_len(message, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    message.extend_from_slice(bytes);
}

/// Fields of a document's hash that follow from the document, as names and values.
#[must_use]
pub fn flat(name: &CollectionName, id: &Id, indexed: &Indexed) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::with_capacity(indexed.columns.len() + 6);
    Fields { scope: &Scope::new(name), id, indexed }.each(|name, value| fields.push((name.to_owned(), value.into())));
    fields
}

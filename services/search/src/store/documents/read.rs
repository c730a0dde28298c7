//! Reads of documents by id.

use bytes::Bytes;
use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::Key;

use super::{Partition, Store};
use crate::domain::{Build, Document, Spread, Stored, body};
use crate::error::Error;

/// Document with its packed values.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Document, perhaps expired a moment ago.
    pub stored: Stored,
    /// Packed values, as in [`Packed`](crate::domain::Packed).
    pub packed: Bytes,
}

const FIELDS: [&str; 7] = ["_b", "_v", "_w", "_x", "_c", "_u", "_f"];

// === impl Store ===

impl Store {
    /// Reads documents of one generation, in the order of `ids`; none for each that does not exist. The reads travel together.
    /// O(documents).
    ///
    /// # Errors
    ///
    /// Error of the store, or a document that this service never writes.
    pub async fn load(&self, name: &CollectionName, build: &Build, ids: &[Id]) -> Result<Vec<Option<Loaded>>, Error> {
        let key = |id: &Id| {
            let partition = Spread::new(&name.collection, id).partition;
            Partition::new(self.valkey.app(), name, partition).document(&build.generation.placement, id)
        };
        let keys: Vec<Key> = ids.iter().map(key).collect();
        let rows = self.valkey.hmget_each(&keys, &FIELDS).await?;
        ids.iter().zip(rows).map(|(id, row)| loaded(build, id, row)).collect()
    }
}

fn loaded(build: &Build, id: &Id, row: Vec<Option<Bytes>>) -> Result<Option<Loaded>, Error> {
    let Ok([text, revision, version, expires, created, updated, packed]) = <[Option<Bytes>; 7]>::try_from(row) else {
        return Err(Error::Corrupt("a document has another number of fields"));
    };
    let (Some(text), Some(packed)) = (text, packed) else { return Ok(None) };
    let text = std::str::from_utf8(&text).map_err(|_| Error::Corrupt("a document's body is no text"))?;
    let fields = body::read(&build.schema, text).map_err(|_| Error::Corrupt("a document's body has another form"))?;
    let missing = || Error::Corrupt("a document has no revision or no times");
    let stored = Stored {
        document: Document { id: id.clone(), fields, version: number(version)?, expires: number(expires)? },
        revision: number(revision)?.ok_or_else(missing)?,
        created: number(created)?.ok_or_else(missing)?,
        updated: number(updated)?.ok_or_else(missing)?,
    };
    Ok(Some(Loaded { stored, packed }))
}

/// Number in decimal; none for an absent field.
pub(in crate::store) fn number(value: Option<Bytes>) -> Result<Option<i64>, Error> {
    let parse = |bytes: Bytes| std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    value.map(|bytes| parse(bytes).ok_or(Error::Corrupt("a number of a document is another text"))).transpose()
}

//! Writes of documents.

use keyplane_contracts::names::Id;
use keyplane_valkey::{Arg, Value, script};

use super::fields::{Fields, array, string};
use super::{Chunk, Fenced, Store, decimal, number, results};
use crate::domain::indexed::Indexed;
use crate::domain::{Definition, Outcome, Scope};
use crate::error::Error;

script!(WRITE = "search.write", ["../scripts/common.lua", "../scripts/documents/write.lua"]);

/// Document to write.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// Id.
    pub id: &'a Id,
    /// Caller's version; the write is rejected if the stored one is larger.
    pub version: Option<i64>,
    /// Expiry, in milliseconds since 1970.
    pub expires: Option<i64>,
    /// Revision that the stored document must have; absent for any, and for none.
    pub revision: Option<i64>,
    /// Room that the tenant has left.
    pub room: Room,
    /// Form in the live generation.
    pub live: &'a Indexed,
    /// Form in the second generation, or the reason why its schema has no place for the document. Required if there is one.
    pub second: Option<Result<&'a Indexed, &'a str>>,
}

/// Room that a tenant has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Room for any document.
    Any,
    /// None for a new document.
    NoNew,
    /// None for a new or a larger document.
    NoLarger,
}

/// Result of a [`Put`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutResult {
    /// Stored now, or before with the same content.
    Stored(StoredPut),
    /// Not written: the stored document, or its deletion, has a larger version.
    Older {
        /// Stored version.
        current: i64,
    },
    /// Not written: the document has another revision, or does not exist.
    Changed {
        /// Revision of the document, if it exists.
        current: Option<i64>,
    },
    /// Not written: no room.
    Full,
}

/// Stored document, with the terms that it replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPut {
    /// Effect and times.
    pub receipt: Receipt,
    /// Terms of the replaced document in the live generation, separated by spaces; empty without one.
    pub replaced: String,
    /// Terms of the replaced document in the second generation.
    pub replaced_second: String,
}

/// Effect and times of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Effect.
    pub outcome: Outcome,
    /// Revision after the write.
    pub revision: i64,
    /// Time of creation, in microseconds since 1970.
    pub created: i64,
    /// Time of the last change, in microseconds since 1970.
    pub updated: i64,
}

// === impl Store ===

impl Store {
    /// Writes at most [`CHUNK`](super::CHUNK) documents of one partition, with one script, in the order of `puts`. The same
    /// content writes nothing. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn put(
        &self,
        definition: &Definition,
        partition: u8,
        puts: &[Put<'_>],
    ) -> Result<Fenced<Vec<PutResult>>, Error> {
        // The generations are about to be swapped: a document that fits one of them alone waits for the outcome.
        if definition.is_swapping() && puts.iter().any(|put| matches!(put.second, Some(Err(_)))) {
            return Ok(Fenced::Stale);
        }
        let chunk = Chunk::new(self, definition, partition, puts.iter().map(|put| put.id));
        let scope = Scope::new(&definition.name);
        let messages: Vec<Vec<u8>> = puts.iter().map(|put| put.message(&scope)).collect();
        let mut args = chunk.fence.args().to_vec();
        args.extend(messages.iter().map(|message| Arg::Bytes(message)));
        results(self.valkey.run(&WRITE, &chunk.keys(), &args).await?, puts.len(), result)
    }
}

// === impl Put ===

impl Put<'_> {
    /// Document as the script takes it.
    fn message(&self, scope: &Scope) -> Vec<u8> {
        let room = match self.room {
            Room::Any => "",
            Room::NoNew => "D",
            Room::NoLarger => "B",
        };
        let [version, expires, revision] = [self.version, self.expires, self.revision].map(decimal);
        let fields = |indexed| Fields { scope, id: self.id, indexed };
        let mut message = Vec::with_capacity(512 + 2 * self.live.body.len());
        array(&mut message, if self.second.is_some() { 7 } else { 6 });
        for text in [self.id.as_str(), &version, &expires, &revision, room] {
            string(&mut message, text.as_bytes());
        }
        fields(self.live).append(&mut message);
        match self.second {
            Some(Ok(second)) => fields(second).append(&mut message),
            Some(Err(reason)) => string(&mut message, reason.as_bytes()),
            None => {}
        }
        message
    }
}

fn result(value: Value) -> Result<PutResult, Error> {
    let parts = value.array()?;
    let [status, rest @ ..] = parts.as_slice() else { return Err(Error::Corrupt("a written document has no result")) };
    let outcome = match (status.text()?, rest) {
        ("OLDER", [current]) => return Ok(PutResult::Older { current: current.int()? }),
        ("CHANGED", [current]) => return Ok(PutResult::Changed { current: number(current)? }),
        ("FULL", []) => return Ok(PutResult::Full),
        ("CREATED", _) => Outcome::Created,
        ("UPDATED", _) => Outcome::Updated,
        ("UNCHANGED", _) => Outcome::Unchanged,
        _ => return Err(Error::Corrupt("a written document has an unknown result")),
    };
    let [revision, created, updated, terms @ ..] = rest else {
        return Err(Error::Corrupt("a written document has too few results"));
    };
    let terms = |at: usize| terms.get(at).map_or(Ok(""), Value::text).map(str::to_owned);
    let receipt = Receipt { outcome, revision: revision.int()?, created: created.int()?, updated: updated.int()? };
    Ok(PutResult::Stored(StoredPut { receipt, replaced: terms(0)?, replaced_second: terms(1)? }))
}

//! Deletions of documents.

use std::time::Duration;

use keyplane_contracts::names::Id;
use keyplane_valkey::{Arg, Value, script};

use super::{Chunk, Fenced, Store, decimal, number, results};
use crate::domain::Definition;
use crate::error::Error;

script!(DELETE = "search.delete", ["../scripts/common.lua", "../scripts/documents/delete.lua"]);

/// Life of a tombstone: writes with a smaller version than the deletion's are rejected that long.
const TOMBSTONE: Duration = Duration::from_hours(24);

/// Document to delete.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    /// Id.
    pub id: &'a Id,
    /// Caller's version; the deletion is rejected if the stored one is larger.
    pub version: Option<i64>,
    /// Revision that the document must have; absent for any, and for none.
    pub revision: Option<i64>,
}

/// Result of a [`Removal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The document is gone.
    Gone {
        /// True if it existed, and had not expired.
        existed: bool,
        /// Terms of the document in the live generation, separated by spaces.
        terms: String,
        /// Terms of the document in the second generation.
        second: String,
    },
    /// Not deleted: the stored document has a larger version.
    Older {
        /// Stored version.
        current: i64,
    },
    /// Not deleted: the document has another revision, or does not exist.
    Changed {
        /// Revision of the document, if it exists.
        current: Option<i64>,
    },
}

// === impl Store ===

impl Store {
    /// Deletes at most [`CHUNK`](super::CHUNK) documents of one partition, with one script. Idempotent; a repeated deletion finds
    /// no document.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn remove(
        &self,
        definition: &Definition,
        partition: u8,
        removals: &[Removal<'_>],
    ) -> Result<Fenced<Vec<Removed>>, Error> {
        let chunk = Chunk::new(self, definition, partition, removals.iter().map(|removal| removal.id));
        let numbers: Vec<[String; 2]> =
            removals.iter().map(|removal| [decimal(removal.version), decimal(removal.revision)]).collect();
        let mut args = chunk.fence.args().to_vec();
        args.push(Arg::from(TOMBSTONE.as_secs()));
        for (removal, [version, revision]) in removals.iter().zip(&numbers) {
            args.extend([removal.id.as_str(), version, revision].map(Arg::from));
        }
        results(self.valkey.run(&DELETE, &chunk.keys(), &args).await?, removals.len(), result)
    }
}

fn result(value: Value) -> Result<Removed, Error> {
    match value.array()?.as_slice() {
        [status, terms, second] => {
            let existed = match status.text()? {
                "DELETED" => true,
                "MISSING" => false,
                _ => return Err(Error::Corrupt("a deleted document has an unknown result")),
            };
            Ok(Removed::Gone { existed, terms: terms.text()?.to_owned(), second: second.text()?.to_owned() })
        }
        [status, current] if status.text()? == "OLDER" => Ok(Removed::Older { current: current.int()? }),
        [status, current] if status.text()? == "CHANGED" => Ok(Removed::Changed { current: number(current)? }),
        _ => Err(Error::Corrupt("a deleted document has another form of result")),
    }
}

//! Documents: writes of whole chunks by one script, reads by id.

mod fields;
mod read;
mod remove;
mod write;

use keyplane_contracts::names::Id;
use keyplane_valkey::{Key, Value};

use super::Store;
use super::fence::Fence;
use super::keys::Partition;
use crate::domain::Definition;
use crate::error::Error;

pub use fields::flat;
pub use read::Loaded;
pub(in crate::store) use read::number as read_number;
pub use remove::{Removal, Removed};
pub use write::{Put, PutResult, Receipt, Room, StoredPut};

/// Maximum number of documents that one script writes: it must not block the engine for a millisecond.
pub const CHUNK: usize = 8;

/// Result of a script that an outdated definition can't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced<T> {
    /// Done.
    Done(T),
    /// Nothing was done: the definition is outdated, or the collection is deleted.
    Stale,
}

/// Keys that the scripts of documents share, and their fence.
struct Chunk {
    keys: Vec<Key>,
    fence: Fence,
}

// === impl Chunk ===

impl Chunk {
    fn new<'a>(store: &Store, definition: &Definition, partition: u8, ids: impl Iterator<Item = &'a Id>) -> Chunk {
        let app = store.valkey.app();
        let names = Partition::new(app, &definition.name, partition);
        let (live, second) = (&definition.live.generation, definition.second().map(|build| &build.generation));
        let mut all = vec![names.state(), names.expiry(), names.gone(), names.count(live.number)];
        all.push(names.count(second.unwrap_or(live).number));
        for id in ids {
            all.push(names.document(&live.placement, id));
            all.extend(second.map(|second| names.document(&second.placement, id)));
        }
        Chunk { keys: all, fence: Fence::new(definition) }
    }

    fn keys(&self) -> Vec<&Key> {
        self.keys.iter().collect()
    }
}

/// Results in `{'OK', results}`, one for each of `count` documents.
fn results<T>(reply: Value, count: usize, decode: impl Fn(Value) -> Result<T, Error>) -> Result<Fenced<Vec<T>>, Error> {
    let mut reply = reply.array()?.into_iter();
    match (reply.next(), reply.next()) {
        (Some(status), None) if status.text()? == "STALE" => Ok(Fenced::Stale),
        (Some(status), Some(results)) if status.text()? == "OK" => {
            let results = results.array()?;
            if results.len() != count {
                return Err(Error::Corrupt("a chunk of documents has another number of results"));
            }
            results.into_iter().map(decode).collect::<Result<_, _>>().map(Fenced::Done)
        }
        _ => Err(Error::Corrupt("a chunk of documents has another reply")),
    }
}

/// Number in decimal; none if the text is empty.
fn number(value: &Value) -> Result<Option<i64>, Error> {
    let text = value.text()?;
    if text.is_empty() { Ok(None) } else { Ok(Some(value.int()?)) }
}

/// Decimal text of a number; empty without one.
fn decimal(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

//! Directories of owners: counters, and the records with their next sequences.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::keys::OwnerKeys;
use super::{RecordName, Store};
use crate::domain::{MemoryId, Owner};
use crate::error::Error;

/// Directory of an owner; all zero and empty without memories.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Directory {
    /// Number of items.
    pub items: u64,
    /// Number of memories.
    pub memories: u64,
    /// Bytes of bodies and items.
    pub bytes: u64,
    /// Tokens of all items.
    pub tokens: u64,
    /// Words of all items, stop words left out.
    pub words: u64,
    /// True if candidates can be taken from postings and vectors.
    pub large: bool,
    /// True if postings and vectors are kept, though perhaps not for all items yet.
    pub kept: bool,
    /// Number of the record that memories without a session are added to.
    pub open: u32,
    /// Records, with their next sequences.
    pub records: BTreeMap<RecordName, u32>,
}

// === impl Store ===

impl Store {
    /// Reads the directory of an owner. O(records).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn directory(&self, owner: &Owner) -> Result<Directory, Error> {
        let key = OwnerKeys::new(self.valkey.app(), owner).directory();
        Directory::new(self.valkey.hgetall(&key).await?)
    }

    /// Current memory of each subject, by the hashes of [`subject_hash`](super::subject_hash); none for one without.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn subjects(&self, owner: &Owner, subjects: &[String]) -> Result<Vec<Option<MemoryId>>, Error> {
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let key = OwnerKeys::new(self.valkey.app(), owner).subjects();
        let names: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let id = |bytes: Bytes| std::str::from_utf8(&bytes).ok().and_then(MemoryId::parse);
        let id = |field: Option<Bytes>| {
            field.map(|bytes| id(bytes).ok_or(Error::Corrupt("a subject's memory has no id"))).transpose()
        };
        self.valkey.hmget(&key, &names).await?.into_iter().map(id).collect()
    }
}

// === impl Directory ===

impl Directory {
    /// Average number of words of an item; 0 without items.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an average needs no more")]
    pub fn average(&self) -> f32 {
        if self.items == 0 { 0.0 } else { self.words as f32 / self.items as f32 }
    }

    pub(super) fn new(fields: Vec<(Bytes, Bytes)>) -> Result<Directory, Error> {
        let mut directory = Directory::default();
        for (name, value) in fields {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let (name, value) = (text(&name), text(&value));
            // A counter that drifted below 0 is mended later; no reader fails for it.
            let count = || value.parse::<i64>().map(|number| u64::try_from(number).unwrap_or(0));
            let damaged = |_| Error::Corrupt("a number of a directory is another text");
            match name.as_str() {
                "n" => directory.items = count().map_err(damaged)?,
                "m" => directory.memories = count().map_err(damaged)?,
                "b" => directory.bytes = count().map_err(damaged)?,
                "t" => directory.tokens = count().map_err(damaged)?,
                "l" => directory.words = count().map_err(damaged)?,
                "open" => directory.open = value.parse().map_err(damaged)?,
                "lg" => (directory.kept, directory.large) = (true, value == "1"),
                name => {
                    let Some(record) = name.strip_prefix("s:") else { continue };
                    let record = RecordName::parse(record).ok_or(Error::Corrupt("a record's name breaks its rule"))?;
                    directory.records.insert(record, value.parse().map_err(damaged)?);
                }
            }
        }
        Ok(directory)
    }
}

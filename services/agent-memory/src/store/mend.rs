//! Recounts of an owner, and corrections of what has drifted.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use keyplane_valkey::{Arg, Key, script};

use super::body;
use super::keys::OwnerKeys;
use super::{Directory, RecordName, Store};
use crate::domain::record::pack;
use crate::domain::{Item, MemoryId, Owner};
use crate::error::Error;

script!(MEND = "memory.mend", ["scripts/mend.lua"]);

/// Right state of an owner, as counted at a revision.
#[derive(Clone, Debug, Default)]
pub struct Correction {
    /// Revision of the owner during the count.
    pub revision: i64,
    /// Items without a memory.
    pub orphans: Vec<(RecordName, u32)>,
    /// Counters.
    pub counters: Counters,
    /// Records whose next sequence is larger than the directory says, with it.
    pub records: Vec<(RecordName, u32)>,
}

/// Counters of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Items.
    pub items: u64,
    /// Memories.
    pub memories: u64,
    /// Bytes of bodies and items.
    pub bytes: u64,
    /// Tokens of all items.
    pub tokens: u64,
    /// Words of all items.
    pub words: u64,
}

// === impl Store ===

impl Store {
    /// Reads the directory of an owner with its last revision; 0 without memories. O(records).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn directory_and_revision(&self, owner: &Owner) -> Result<(Directory, i64), Error> {
        let key = OwnerKeys::new(self.valkey.app(), owner).directory();
        let fields = self.valkey.hgetall(&key).await?;
        let revision = fields.iter().find(|(name, _)| name == "rev").map(|(_, value)| value.clone());
        let revision = body::number(revision)?.unwrap_or(0);
        Ok((Directory::new(fields)?, revision))
    }

    /// Counts valid items and the bodies of their memories. O(memories).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn counted(&self, owner: &Owner, records: &[(RecordName, Vec<Item>)]) -> Result<Counters, Error> {
        let keys = OwnerKeys::new(self.valkey.app(), owner);
        let mut counters = Counters::default();
        let mut bodies: BTreeMap<MemoryId, Key> = BTreeMap::new();
        for item in records.iter().flat_map(|(_, items)| items) {
            counters.items += 1;
            counters.tokens += u64::from(item.tokens);
            counters.words += u64::from(item.length);
            counters.bytes += u64::try_from(pack(item).len()).unwrap_or(0);
            bodies.entry(item.id).or_insert_with(|| keys.partition().memory(item.id));
        }
        let bodies: Vec<Key> = bodies.into_values().collect();
        let lengths = try_join_all(bodies.iter().map(|key| self.valkey.hmget(key, &["b"]))).await?;
        counters.memories = u64::try_from(bodies.len()).unwrap_or(0);
        let length = |body: &Bytes| u64::try_from(body.len()).unwrap_or(0);
        counters.bytes += lengths.iter().flatten().flatten().map(length).sum::<u64>();
        Ok(counters)
    }

    /// Mends an owner unless it was written since the count. Returns the number of corrections; none if it was written. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn mend(&self, owner: &Owner, correction: &Correction) -> Result<Option<u64>, Error> {
        let names = OwnerKeys::new(self.valkey.app(), owner);
        let mut keys = vec![names.directory()];
        let mut args = vec![correction.revision.to_string()];
        let counters = &correction.counters;
        let numbers = [counters.items, counters.memories, counters.bytes, counters.tokens, counters.words];
        args.extend(numbers.iter().map(ToString::to_string));
        args.push(correction.records.len().to_string());
        args.extend(correction.records.iter().flat_map(|(name, next)| [format!("s:{name}"), next.to_string()]));
        for (record, sequence) in &correction.orphans {
            keys.push(names.record(record));
            args.push(sequence.to_string());
        }
        let keys: Vec<&Key> = keys.iter().collect();
        let args: Vec<Arg<'_>> = args.iter().map(Arg::from).collect();
        let mended = self.valkey.run(&MEND, &keys, &args).await?;
        if mended.is_nil() { Ok(None) } else { Ok(Some(u64::try_from(mended.int()?).unwrap_or(0))) }
    }
}

//! Reads of records and memories.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::try_join_all;
use keyplane_contracts::names::TenantId;
use keyplane_valkey::Key;

use super::body::{self, FIELDS};
use super::keys::{Keys, OwnerKeys};
use super::{RecordName, Store, Stored};
use crate::domain::record;
use crate::domain::{Item, MemoryId, Owner, Partition, Session};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Reads whole records, in the order of `names`; the reads travel together. O(items).
    ///
    /// # Errors
    ///
    /// Error of the store, or an item that this service never writes.
    pub async fn records(&self, owner: &Owner, names: &[RecordName]) -> Result<Vec<Session>, Error> {
        let keys = OwnerKeys::new(self.valkey.app(), owner);
        let keys: Vec<Key> = names.iter().map(|name| keys.record(name)).collect();
        let hashes = try_join_all(keys.iter().map(|key| self.valkey.hgetall(key))).await?;
        let partition = owner.partition();
        let read = |(name, hash): (&RecordName, Vec<(Bytes, Bytes)>)| {
            let items = hash.into_iter().map(|(field, value)| item(partition, &field, &value));
            items.collect::<Result<_, _>>().map(|items| session(name, items))
        };
        names.iter().zip(hashes).map(read).collect()
    }

    /// Reads items with their neighbours, at most `radius` sequences apart; the reads travel together. One session for each
    /// record, in the order of their names. O(items * radius).
    ///
    /// # Errors
    ///
    /// As for [`Store::records`].
    pub async fn around(
        &self,
        owner: &Owner,
        places: &[(RecordName, u32)],
        radius: u32,
    ) -> Result<Vec<Session>, Error> {
        let mut wanted: BTreeMap<&RecordName, BTreeSet<u32>> = BTreeMap::new();
        for (record, sequence) in places {
            let near = sequence.saturating_sub(radius)..=sequence.saturating_add(radius);
            wanted.entry(record).or_default().extend(near);
        }
        let reads = wanted.iter().map(|(record, sequences)| self.items(owner, record, sequences.iter().copied()));
        let items = try_join_all(reads).await?;
        Ok(wanted.keys().zip(items).map(|(record, items)| session(record, items)).collect())
    }

    /// Reads items of a record, those that exist, in the order of `sequences`. O(sequences).
    ///
    /// # Errors
    ///
    /// As for [`Store::records`].
    pub async fn items(
        &self,
        owner: &Owner,
        record: &RecordName,
        sequences: impl Iterator<Item = u32>,
    ) -> Result<Vec<Item>, Error> {
        let key = OwnerKeys::new(self.valkey.app(), owner).record(record);
        let sequences: Vec<u32> = sequences.collect();
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = sequences.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let values = self.valkey.hmget(&key, &names).await?;
        let read = |(sequence, value): (u32, Option<Bytes>)| Some(unpack(owner.partition(), sequence, &value?));
        sequences.into_iter().zip(values).filter_map(read).collect()
    }

    /// Reads memories by id, in the order of `ids`; none for each that does not exist. A memory that expired a moment ago may be
    /// among them. The reads travel together. O(ids).
    ///
    /// # Errors
    ///
    /// Error of the store, or a memory that this service never writes.
    pub async fn load(&self, tenant: &TenantId, ids: &[MemoryId]) -> Result<Vec<Option<Stored>>, Error> {
        let app = self.valkey.app();
        let keys: Vec<Key> = ids.iter().map(|id| Keys::new(app, tenant, id.partition()).memory(*id)).collect();
        let rows = self.valkey.hmget_each(&keys, &FIELDS).await?;
        ids.iter().zip(rows).map(|(id, row)| body::stored(tenant, *id, row)).collect()
    }
}

/// Session of a record's items, in order.
fn session(name: &RecordName, mut items: Vec<Item>) -> Session {
    items.sort_unstable_by_key(|item| item.sequence);
    let (id, conversation) = match name {
        RecordName::Session(session) => (session.as_str().into(), true),
        RecordName::Number(_) => (compact_str::CompactString::default(), false),
    };
    Session { id, conversation, items }
}

fn item(partition: Partition, field: &Bytes, value: &Bytes) -> Result<Item, Error> {
    let sequence = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    unpack(partition, sequence.ok_or(Error::Corrupt("an item has no sequence"))?, value)
}

pub(super) fn unpack(partition: Partition, sequence: u32, value: &[u8]) -> Result<Item, Error> {
    record::read(partition, sequence, value).map_err(|_| Error::Corrupt("an item of a record has another layout"))
}

//! Generations of collections: fences, indexes, copies, removals, sizes.

mod copy;
mod indexes;
mod mend;
mod pages;
mod remove;
mod sweep;

use std::collections::BTreeMap;

use futures::future::try_join_all;
use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Value, script};

use super::Store;
use super::counters::unsigned;
use super::fence::Fence;
use super::keys::{Lexicon, Partition};
use crate::domain::spread::PARTITIONS;
use crate::domain::{Build, CollectionState, Definition};
use crate::error::Error;

pub use copy::{Copied, Copy};
pub use mend::{Correction, Counts};
pub use pages::{Found, Walk};
pub use sweep::Swept;

script!(FENCE = "search.fence", ["../scripts/generations/fence.lua"]);
script!(OPEN = "search.open", ["../scripts/generations/open.lua"]);

/// State of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Epoch of the last write or fence.
    pub epoch: u64,
    /// Number of the last change of a document.
    pub revision: u64,
    fields: BTreeMap<String, String>,
}

/// Size of a generation, by its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Size {
    /// Number of documents.
    pub documents: u64,
    /// Bytes of the documents' JSON.
    pub bytes: u64,
}

// === impl Store ===

impl Store {
    /// Begins the lexicon of a generation. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn open_generation(&self, definition: &Definition, build: &Build) -> Result<(), Error> {
        let lexicon = Lexicon::new(self.valkey.app(), &definition.name, build.generation.number);
        self.valkey.run(&OPEN, &[&lexicon.log()], &[]).await?;
        Ok(())
    }

    /// Brings all partitions to the definition's epoch: a write of an earlier one is stale afterwards. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if a partition has a later epoch, or none and `create` is false; or an error of the store.
    pub async fn fence(&self, definition: &Definition, create: bool) -> Result<Vec<PartitionState>, Error> {
        try_join_all((0..PARTITIONS).map(|partition| self.fence_partition(definition, partition, create))).await
    }

    async fn fence_partition(
        &self,
        definition: &Definition,
        partition: u8,
        create: bool,
    ) -> Result<PartitionState, Error> {
        let key = Partition::new(self.valkey.app(), &definition.name, partition).state();
        let fence = Fence::new(definition);
        let [epoch, live, second] = fence.args();
        let create = if create { "1" } else { "0" };
        let reply = self.valkey.run(&FENCE, &[&key], &[epoch, live, second, create.into()]).await?.array()?;
        let [status, fields] = <[Value; 2]>::try_from(reply).map_err(|_| Error::Corrupt("a fence has another form"))?;
        match status.text()? {
            "OK" => PartitionState::new(&fields.pairs()?),
            // Nothing is left to be fenced of a collection that is being deleted.
            "MISSING" if definition.state == CollectionState::Deleting => PartitionState::new(&[]),
            _ => Err(Error::WriteConflict),
        }
    }

    /// Reads the state of a partition; `None` if the collection does not exist.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn partition(&self, name: &CollectionName, partition: u8) -> Result<Option<PartitionState>, Error> {
        let fields = self.valkey.hgetall(&Partition::new(self.valkey.app(), name, partition).state()).await?;
        if fields.is_empty() { Ok(None) } else { PartitionState::new(&fields).map(Some) }
    }

    /// Size of a generation, from its counters.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn size(&self, name: &CollectionName, generation: u32) -> Result<Size, Error> {
        let totals = self.totals(name, generation, 0).await?;
        Ok(Size { documents: totals.documents, bytes: totals.bytes })
    }

    /// Size of one partition of a generation.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn partition_size(&self, name: &CollectionName, generation: u32, partition: u8) -> Result<Size, Error> {
        let key = Partition::new(self.valkey.app(), name, partition).count(generation);
        let counters = self.valkey.hmget(&key, &["n", "b"]).await?;
        let number = |at: usize| counters.get(at).and_then(Option::as_ref).map_or(Ok(0), |text| unsigned(text));
        Ok(Size { documents: number(0)?, bytes: number(1)? })
    }
}

/// Rest of a reply whose first element is `OK`.
///
/// # Errors
///
/// [`Error::WriteConflict`] for a partition of another epoch.
pub(super) fn unfenced(reply: Value) -> Result<Vec<Value>, Error> {
    let mut reply = reply.array()?.into_iter();
    let status = reply.next().ok_or(Error::Corrupt("an empty reply"))?;
    if status.text()? == "OK" { Ok(reply.collect()) } else { Err(Error::WriteConflict) }
}

// === impl PartitionState ===

impl PartitionState {
    fn new(fields: &[(bytes::Bytes, bytes::Bytes)]) -> Result<PartitionState, Error> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: BTreeMap<String, String> = fields.iter().map(|(field, value)| (text(field), text(value))).collect();
        let number = |field: &str| {
            let number = fields.get(field).map_or(Ok(0), |value| value.parse());
            number.map_err(|_| Error::Corrupt("a number of a partition's state is damaged"))
        };
        Ok(PartitionState { epoch: number("e")?, revision: number("rev")?, fields })
    }

    /// Checksum over the ids and revisions of a generation's documents; 0 without any.
    #[must_use]
    pub fn checksum(&self, generation: u32) -> u64 {
        self.fields.get(&format!("c:{generation}")).and_then(|sum| sum.parse().ok()).unwrap_or(0)
    }

    /// Reason of the last epoch's first write that the second generation's schema had no place for. The document may have
    /// changed since: checksums decide.
    #[must_use]
    pub fn misfit(&self) -> Option<&str> {
        let misfits = self.fields.iter().filter_map(|(field, reason)| {
            let epoch: u64 = field.strip_prefix("bad:")?.parse().ok()?;
            Some((epoch, reason.as_str()))
        });
        misfits.max().map(|(_, reason)| reason)
    }
}

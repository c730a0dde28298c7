//! Counters of a partition: their present values, and their correction.

use std::collections::BTreeMap;

use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Arg, script};

use super::{Partition, PartitionState, Store, unfenced};
use crate::domain::Definition;
use crate::error::Error;

script!(MEND = "search.mend", ["../scripts/generations/mend.lua"]);

/// Counters of a partition, by name.
pub type Counts = BTreeMap<String, i64>;

/// Correction of a partition's counters and checksum.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Correction {
    /// Checksum over the documents.
    pub checksum: u64,
    /// Counters to set.
    pub set: Counts,
    /// Counters to remove.
    pub removed: Vec<String>,
}

// === impl Store ===

impl Store {
    /// Reads the counters of a partition.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn counts(&self, name: &CollectionName, generation: u32, partition: u8) -> Result<Counts, Error> {
        let key = Partition::new(self.valkey.app(), name, partition).count(generation);
        let counters = self.valkey.hgetall(&key).await?.into_iter().map(|(counter, value)| {
            let value = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok());
            let value = value.ok_or(Error::Corrupt("a counter is no number"))?;
            Ok((String::from_utf8_lossy(&counter).into_owned(), value))
        });
        counters.collect()
    }

    /// Corrects the counters of a generation's partition, if no document has changed since `state` was read; else
    /// `false`. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn mend(
        &self,
        definition: &Definition,
        generation: u32,
        partition: u8,
        state: &PartitionState,
        correction: &Correction,
    ) -> Result<bool, Error> {
        let keys = Partition::new(self.valkey.app(), &definition.name, partition);
        let number = generation.to_string();
        let mut args = vec![
            Arg::from(definition.epoch),
            state.revision.into(),
            (&number).into(),
            correction.checksum.into(),
            Arg::from(correction.set.len() as u64),
        ];
        args.extend(correction.set.iter().flat_map(|(counter, value)| [Arg::from(counter), Arg::Int(*value)]));
        args.extend(correction.removed.iter().map(Arg::from));
        let reply = self.valkey.run(&MEND, &[&keys.state(), &keys.count(generation)], &args).await?;
        match unfenced(reply) {
            Ok(_) => Ok(true),
            Err(Error::WriteConflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

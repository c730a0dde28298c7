//! Counters of a partition: their present values, and their correction.

use std::collections::BTreeMap;

use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Arg, script};

use super::{Partition, PartitionState, Store, unfenced};
use crate::domain::Definition;
use crate::error::Error;

script!(MEND = "search.mend", ["../scripts/generations/mend.lua"]);

/// Counters that are read at once, about.
const COUNTERS: u32 = 1_000;
/// Counters that one script corrects: it must not block the engine for a millisecond.
const SLICE: usize = 500;

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
    /// Reads the counters of a partition, a part at a time. O(different tags).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn counts(&self, name: &CollectionName, generation: u32, partition: u8) -> Result<Counts, Error> {
        let key = Partition::new(self.valkey.app(), name, partition).count(generation);
        let (mut counts, mut cursor) = (Counts::new(), 0);
        loop {
            let (next, pairs) = self.valkey.hscan(&key, cursor, COUNTERS).await?;
            for (counter, value) in pairs {
                let value = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok());
                let value = value.ok_or(Error::Corrupt("a counter is no number"))?;
                counts.insert(String::from_utf8_lossy(&counter).into_owned(), value);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(counts);
            }
        }
    }

    /// Corrects the counters of a generation's partition, 500 at a time, while no document has changed since `state` was
    /// read; else `false`: counters that are corrected by then are right. Idempotent.
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
        let set = correction.set.iter().map(|(counter, value)| (counter, value.to_string()));
        let changes: Vec<(&String, String)> =
            set.chain(correction.removed.iter().map(|counter| (counter, String::new()))).collect();
        // The checksum goes along with each slice; with the first one even if no counter is wrong.
        for slice in changes.chunks(SLICE).chain(changes.is_empty().then_some(&[][..])) {
            let mut args =
                vec![Arg::from(definition.epoch), state.revision.into(), (&number).into(), correction.checksum.into()];
            args.extend(slice.iter().flat_map(|(counter, value)| [Arg::from(*counter), Arg::from(value)]));
            let reply = self.valkey.run(&MEND, &[&keys.state(), &keys.count(generation)], &args).await?;
            match unfenced(reply) {
                Ok(_) => {}
                Err(Error::WriteConflict) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

//! Sweeper: removes expired documents, and takes them out of counters and lexicon.

use std::time::Duration;

use super::documents::{BatchId, Changes};
use super::figures::Figures;
use super::turn::{Interrupt, Turn};
use crate::domain::Definition;
use crate::domain::spread::PARTITIONS;
use crate::error::Error;
use crate::store::Store;

/// Maximum of documents of one sweeping script.
const BATCH: u32 = 16;
/// Maximum of scripts for one partition in a turn; the rest waits for the next.
const SCRIPTS: u32 = 64;

/// Sweeper of expired documents. Cheap to clone.
#[derive(Clone)]
pub struct Sweeper {
    store: Store,
    figures: Figures,
}

/// Result of a sweep of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Documents that were removed.
    pub removed: u64,
    /// Time until the next document expires; none without one.
    pub next: Option<Duration>,
}

// === impl Sweeper ===

impl Sweeper {
    /// Sweeper of `store`.
    #[must_use]
    pub fn new(store: Store, figures: Figures) -> Sweeper {
        Sweeper { store, figures }
    }

    /// Removes the expired documents of a collection. Searches hide them until then.
    ///
    /// # Errors
    ///
    /// End of the turn; [`Error::WriteConflict`] if the definition is outdated.
    pub async fn run(&self, definition: &Definition, turn: &mut Turn) -> Result<Swept, Interrupt> {
        let mut swept = Swept::default();
        for partition in 0..PARTITIONS {
            let next = self.sweep_partition(definition, partition, turn, &mut swept.removed).await?;
            swept.next = swept.next.into_iter().chain(next).min();
        }
        Ok(swept)
    }

    /// Time until the next document of the partition expires: zero if more have expired than a turn removes.
    async fn sweep_partition(
        &self,
        definition: &Definition,
        partition: u8,
        turn: &mut Turn,
        removed: &mut u64,
    ) -> Result<Option<Duration>, Interrupt> {
        let mut next = None;
        for _ in 0..SCRIPTS {
            let count;
            (count, next) = self.sweep(definition, partition).await?;
            *removed += count;
            self.figures.swept(count);
            turn.check().await?;
            if next != Some(Duration::ZERO) {
                break;
            }
        }
        Ok(next)
    }

    async fn sweep(&self, definition: &Definition, partition: u8) -> Result<(u64, Option<Duration>), Error> {
        let swept = self.store.sweep(definition, partition, BATCH).await?;
        let mut changes = Changes::default();
        for (live, second) in &swept.terms {
            changes.add(live, second, -1);
        }
        if !swept.terms.is_empty() {
            changes.write(&self.store, definition, &BatchId::new(), "-").await?;
        }
        Ok((u64::try_from(swept.terms.len()).unwrap_or(u64::MAX), swept.next))
    }
}

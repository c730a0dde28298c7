//! Sweeper: removes expired documents, and takes them out of counters and lexicon.

use std::collections::BTreeMap;
use std::time::Duration;

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
            for _ in 0..SCRIPTS {
                let (removed, next) = self.sweep(definition, partition).await?;
                swept.removed += removed;
                self.figures.swept(removed);
                let Some(next) = next else { break };
                if !next.is_zero() {
                    swept.next = Some(swept.next.map_or(next, |before| before.min(next)));
                    break;
                }
                turn.check().await?;
                swept.next = Some(Duration::ZERO).filter(|_| removed > 0).or(swept.next);
            }
        }
        Ok(swept)
    }

    async fn sweep(&self, definition: &Definition, partition: u8) -> Result<(u64, Option<Duration>), Error> {
        let swept = self.store.sweep(definition, partition, BATCH).await?;
        if swept.live.is_empty() {
            return Ok((0, swept.next));
        }
        let batch = format!("sweep-{partition}-{}", self.store.reserve(&definition.name.tenant).await?.number);
        for (build, documents) in [(Some(&definition.live), &swept.live), (definition.second(), &swept.second)] {
            let Some(build) = build else { continue };
            let mut terms: BTreeMap<String, i64> = BTreeMap::new();
            for term in documents.iter().flat_map(|terms| terms.split(' ')).filter(|term| !term.is_empty()) {
                *terms.entry(term.to_owned()).or_default() -= 1;
            }
            if !terms.is_empty() {
                let terms: Vec<_> = terms.into_iter().collect();
                self.store.lexicon_update(&definition.name, build.generation.number, &batch, &terms).await?;
            }
        }
        Ok((u64::try_from(swept.live.len()).unwrap_or(u64::MAX), swept.next))
    }
}

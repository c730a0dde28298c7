//! Reconciler: recomputes counters, checksums and the lexicon from the documents, and mends what has drifted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use tokio::time::sleep;

use super::figures::Figures;
use super::turn::{Interrupt, Turn};
use crate::domain::census::Census;
use crate::domain::indexed::Indexed;
use crate::domain::lexicon::LogId;
use crate::domain::spread::PARTITIONS;
use crate::domain::{Build, Definition};
use crate::error::Error;
use crate::store::Store;
use crate::store::generations::{Correction, Walk};

/// Attempts at one partition, while documents change during the count.
const ATTEMPTS: u32 = 3;

/// Reconciler of counters. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    /// Longest time between a write of documents and its update of the lexicon.
    settle: Duration,
    figures: Figures,
}

/// Result of a recount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recount {
    /// Counters that had drifted, and are mended.
    pub mended: u64,
    /// Terms whose frequency had drifted, and is mended.
    pub terms: u64,
    /// Partitions whose documents changed during each count; a later recount looks at them.
    pub busy: u32,
}

/// Census of a partition whose documents did not change meanwhile.
pub(super) struct Counted {
    pub(super) census: Census,
    pub(super) drift: u64,
    pub(super) revision: u64,
}

// === impl Reconciler ===

impl Reconciler {
    /// Reconciler of `store`. A write updates the lexicon at most `settle` after its documents.
    #[must_use]
    pub fn new(store: Store, settle: Duration, figures: Figures) -> Reconciler {
        Reconciler { store, settle, figures }
    }

    /// Recounts the live generation of a collection, and mends what has drifted. O(documents).
    ///
    /// # Errors
    ///
    /// End of the turn.
    pub async fn run(&self, definition: &Definition, turn: &mut Turn) -> Result<Recount, Interrupt> {
        let (name, number) = (&definition.name, definition.live.generation.number);
        let head = self.store.lexicon_head(name, number).await?;
        sleep(self.settle).await;
        let (mut recount, mut terms, mut revisions) = (Recount::default(), BTreeMap::new(), Vec::new());
        for partition in 0..PARTITIONS {
            turn.check().await?;
            let Some(counted) = self.recount(definition, &definition.live, partition).await? else {
                recount.busy += 1;
                continue;
            };
            recount.mended += counted.drift;
            revisions.push(counted.revision);
            for (term, count) in counted.census.terms {
                *terms.entry(term).or_default() += count;
            }
        }
        if recount.busy == 0 {
            recount.terms = self.mend_lexicon(definition, head, terms, &revisions).await?;
        }
        if recount.mended + recount.terms > 0 {
            let (counters, terms) = (recount.mended, recount.terms);
            self.figures.mended(counters + terms);
            tracing::warn!(collection = %name, counters, terms, "counters had drifted, and are mended");
        }
        Ok(recount)
    }

    /// Mends the lexicon, if neither documents nor the lexicon have changed since the count began; the number of terms that
    /// were wrong.
    async fn mend_lexicon(
        &self,
        definition: &Definition,
        head: LogId,
        mut right: BTreeMap<String, i64>,
        revisions: &[u64],
    ) -> Result<u64, Error> {
        let (name, number) = (&definition.name, definition.live.generation.number);
        let (mut cursor, mut wrong) = (0, BTreeMap::new());
        loop {
            let page = self.store.lexicon_terms(name, number, cursor).await?;
            for (term, frequency) in page.terms {
                // A scan may return a term twice.
                if let Entry::Vacant(entry) = wrong.entry(term) {
                    let counted = right.remove(entry.key()).unwrap_or(0);
                    entry.insert(counted - i64::from(frequency));
                }
            }
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        wrong.extend(right);
        wrong.retain(|_, difference| *difference != 0);
        for (partition, revision) in (0..PARTITIONS).zip(revisions) {
            let state = self.store.partition(name, partition).await?;
            if state.is_none_or(|state| state.revision != *revision || state.epoch != definition.epoch) {
                return Ok(0);
            }
        }
        if wrong.is_empty() || self.store.lexicon_head(name, number).await? != head {
            return Ok(0);
        }
        let batch = format!("mend-{}", self.store.reserve(&name.tenant).await?.number);
        let wrong: Vec<_> = wrong.into_iter().collect();
        self.store.lexicon_update(name, number, &batch, &wrong).await?;
        Ok(u64::try_from(wrong.len()).unwrap_or(u64::MAX))
    }

    /// Recounts one partition of a generation, and mends its counters and checksum; `None` if documents changed during each
    /// attempt.
    pub(super) async fn recount(
        &self,
        definition: &Definition,
        build: &Build,
        partition: u8,
    ) -> Result<Option<Counted>, Error> {
        let (name, number) = (&definition.name, build.generation.number);
        for _ in 0..ATTEMPTS {
            let state = self.store.partition(name, partition).await?.ok_or(Error::WriteConflict)?;
            let census = self.census(name, build, partition).await?;
            let drift = census.drift(&self.store.counts(name, number, partition).await?);
            let right = state.checksum(number) == census.checksum;
            let size = drift.size() + usize::from(!right);
            let correction = Correction { checksum: census.checksum, set: drift.wrong, removed: drift.spare };
            if self.store.mend(definition, number, partition, &state, &correction).await? {
                let drift = u64::try_from(size).unwrap_or(u64::MAX);
                return Ok(Some(Counted { census, drift, revision: state.revision }));
            }
        }
        Ok(None)
    }

    async fn census(&self, name: &CollectionName, build: &Build, partition: u8) -> Result<Census, Error> {
        let size = self.store.partition_size(name, build.generation.number, partition).await?;
        let (mut walk, layout) = (Walk::new(partition, size.documents, None), build.layout());
        let mut census = Census::default();
        while let Some(page) = walk.step(&self.store, name, build).await? {
            for found in page {
                let indexed = Indexed::new(&build.schema, &layout, &name.collection, &found.document);
                census.add(&found.document.id, found.revision, &indexed);
            }
        }
        Ok(census)
    }
}

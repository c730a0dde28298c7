//! Reconciler: recomputes counters, checksums and the lexicon from the documents, and mends what has drifted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use keyplane_contracts::names::CollectionName;

use super::documents::BatchId;
use super::figures::Figures;
use super::turn::{Interrupt, Turn};
use crate::domain::census::Census;
use crate::domain::indexed::Indexed;
use crate::domain::lexicon::LogId;
use crate::domain::spread::PARTITIONS;
use crate::domain::{Build, Definition};
use crate::error::Error;
use crate::store::Store;
use crate::store::definitions::Checkpoint;
use crate::store::generations::{Correction, Walk};

/// Attempts at one partition, while documents change during the count.
const ATTEMPTS: u32 = 3;

/// Reconciler of counters. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    figures: Figures,
}

/// Mark of a collection's documents and lexicon. Once every write from before the mark has updated the lexicon, and while nothing
/// else changes, the two must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Time, in milliseconds since 1970.
    pub at: u64,
    /// Sum of the partitions' revisions.
    revision: u64,
    /// Version of the lexicon.
    head: LogId,
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
}

// === impl Mark ===

impl Mark {
    /// Mark in a checkpoint; `None` without one.
    #[must_use]
    pub fn read(checkpoint: &Checkpoint) -> Option<Mark> {
        let number = |field| checkpoint.number(field);
        let at = number("marked").filter(|at| *at > 0)?;
        Some(Mark { at, revision: number("revision")?, head: LogId { ms: number("ms")?, seq: number("seq")? } })
    }

    /// Fields of the checkpoint.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, u64); 4] {
        [("marked", self.at), ("revision", self.revision), ("ms", self.head.ms), ("seq", self.head.seq)]
    }

    /// Fields of a checkpoint without a mark.
    #[must_use]
    pub fn none() -> (&'static str, u64) {
        ("marked", 0)
    }
}

// === impl Reconciler ===

impl Reconciler {
    /// Reconciler of `store`.
    #[must_use]
    pub fn new(store: Store, figures: Figures) -> Reconciler {
        Reconciler { store, figures }
    }

    /// Marks a collection at `now`, in milliseconds since 1970, for a later [`Reconciler::run`].
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn mark(&self, definition: &Definition, now: u64) -> Result<Mark, Error> {
        let (name, number) = (&definition.name, definition.live.generation.number);
        let (revision, head) = futures::try_join!(self.store.revision(name), self.store.lexicon_head(name, number))?;
        Ok(Mark { at: now, revision, head })
    }

    /// Recounts the live generation of a collection, and mends what has drifted. O(documents).
    ///
    /// The lexicon is mended only if nothing has changed since the mark, which must be older than any write takes: a write
    /// updates documents and lexicon one after the other.
    ///
    /// # Errors
    ///
    /// End of the turn.
    pub async fn run(&self, definition: &Definition, mark: Mark, turn: &mut Turn) -> Result<Recount, Interrupt> {
        let name = &definition.name;
        let (mut recount, mut terms) = (Recount::default(), BTreeMap::new());
        for partition in 0..PARTITIONS {
            let Some(counted) = self.recount(definition, &definition.live, partition, turn).await? else {
                recount.busy += 1;
                continue;
            };
            recount.mended += counted.drift;
            for (term, count) in counted.census.terms {
                *terms.entry(term).or_default() += count;
            }
        }
        if recount.busy == 0 {
            recount.terms = self.mend_lexicon(definition, mark, terms).await?;
        }
        if recount.mended + recount.terms > 0 {
            let (counters, terms) = (recount.mended, recount.terms);
            self.figures.mended(counters + terms);
            tracing::warn!(collection = %name, counters, terms, "counters had drifted, and are mended");
        }
        Ok(recount)
    }

    /// Mends the lexicon, if neither documents nor the lexicon have changed since the mark; the number of terms that were wrong.
    async fn mend_lexicon(
        &self,
        definition: &Definition,
        mark: Mark,
        mut right: BTreeMap<String, i64>,
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
        if wrong.is_empty() || self.mark(definition, mark.at).await? != mark {
            return Ok(0);
        }
        let wrong: Vec<_> = wrong.into_iter().collect();
        self.store.lexicon_update(name, number, &BatchId::new().part("="), &wrong).await?;
        Ok(u64::try_from(wrong.len()).unwrap_or(u64::MAX))
    }

    /// Recounts one partition of a generation, and mends its counters and checksum; `None` if documents changed during each
    /// attempt.
    pub(super) async fn recount(
        &self,
        definition: &Definition,
        build: &Build,
        partition: u8,
        turn: &mut Turn,
    ) -> Result<Option<Counted>, Interrupt> {
        let (name, number) = (&definition.name, build.generation.number);
        for _ in 0..ATTEMPTS {
            let state = self.store.partition(name, partition).await?.ok_or(Error::WriteConflict)?;
            let census = self.census(name, build, partition, turn).await?;
            let drift = census.drift(&self.store.counts(name, number, partition).await?);
            let right = state.checksum(number) == census.checksum;
            let size = drift.size() + usize::from(!right);
            let correction = Correction { checksum: census.checksum, set: drift.wrong, removed: drift.spare };
            if self.store.mend(definition, number, partition, &state, &correction).await? {
                let drift = u64::try_from(size).unwrap_or(u64::MAX);
                return Ok(Some(Counted { census, drift }));
            }
        }
        Ok(None)
    }

    /// Counts the documents of a partition, and renews the lease meanwhile.
    async fn census(
        &self,
        name: &CollectionName,
        build: &Build,
        partition: u8,
        turn: &mut Turn,
    ) -> Result<Census, Interrupt> {
        let size = self.store.partition_size(name, build.generation.number, partition).await?;
        let (mut walk, layout) = (Walk::new(partition, size, None), build.layout());
        let mut census = Census::default();
        while let Some(page) = walk.step(&self.store, name, build).await? {
            for found in page {
                let indexed = Indexed::new(&build.schema, &layout, &name.collection, &found.document);
                census.add(&found.document.id, found.revision, &indexed);
            }
            turn.check().await?;
        }
        Ok(census)
    }
}

//! Backfill of the next generation.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Rebuilds;
use crate::app::documents::BatchId;
use crate::app::turn::{Interrupt, Turn};
use crate::domain::conversion::{Misfit, convert};
use crate::domain::indexed::Indexed;
use crate::domain::spread::PARTITIONS;
use crate::domain::{Build, Definition, Layout};
use crate::error::Error;
use crate::store::definitions::Checkpoint;
use crate::store::generations::{Copied, Copy, Found, Walk};

/// Maximum of documents of one copying script: it must not block the engine for a millisecond.
const BATCH: usize = 8;
/// Maximum of walks over a partition whose checksums differ.
const WALKS: u32 = 4;
/// Longest pause between two pages.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Backfill of one rebuild.
struct Fill<'a> {
    rebuilds: &'a Rebuilds,
    definition: &'a Definition,
    next: &'a Build,
    layout: Layout,
    /// Documents that were copied.
    copied: u64,
}

/// End of a backfill that can't succeed.
enum Ended {
    GivenUp(String),
    Interrupted(Interrupt),
}

// === impl Rebuilds ===

impl Rebuilds {
    /// Fills the next generation from the checkpoint on, until the checksums of all partitions are equal.
    pub(super) async fn fill(&self, definition: Definition, turn: &mut Turn) -> Result<(), Interrupt> {
        let Some(next) = definition.second().cloned() else { return Ok(()) };
        self.store.ensure_index(&definition.name, &next.generation.placement, self.settings.indexes).await?;
        self.store.fence(&definition, false).await?;
        let checkpoint = self.store.checkpoint(&definition.name).await?;
        let mut fill = Fill::new(self, &definition, &next, &checkpoint);
        match fill.run(&checkpoint, turn).await {
            Ok(()) => {}
            Err(Ended::Interrupted(interrupt)) => return Err(interrupt),
            Err(Ended::GivenUp(reason)) => return self.give_up(definition, &reason).await,
        }
        let copied = fill.copied;
        let total = self.store.size(&definition.name, definition.live.generation.number).await?.documents;
        self.replace(definition, |definition, _| definition.filled(copied, total)).await?;
        Ok(())
    }
}

// === impl Fill ===

impl<'a> Fill<'a> {
    fn new(rebuilds: &'a Rebuilds, definition: &'a Definition, next: &'a Build, checkpoint: &Checkpoint) -> Fill<'a> {
        let resumed = checkpoint.is_for(next.generation.number);
        let copied = checkpoint.number("copied").filter(|_| resumed).unwrap_or(0);
        Fill { rebuilds, definition, next, layout: next.layout(), copied }
    }

    async fn run(&mut self, checkpoint: &Checkpoint, turn: &mut Turn) -> Result<(), Ended> {
        let resumed = checkpoint.is_for(self.next.generation.number);
        for partition in 0..PARTITIONS {
            let from = checkpoint.number(&field(partition)).filter(|_| resumed);
            self.fill_partition(partition, from, turn).await?;
        }
        for partition in 0..PARTITIONS {
            self.settle(partition, turn).await?;
        }
        Ok(())
    }

    /// Copies the rest of a partition, and compares.
    async fn fill_partition(&mut self, partition: u8, from: Option<u64>, turn: &mut Turn) -> Result<(), Ended> {
        self.walk(partition, from, turn).await?;
        self.settle(partition, turn).await
    }

    /// Walks again while the checksums of a partition differ. A document that was read while its writer waited for the index
    /// may have been missed; one that fits the live schema alone ends the walk; a counter that has drifted is mended before the
    /// last walk.
    async fn settle(&mut self, partition: u8, turn: &mut Turn) -> Result<(), Ended> {
        for walks in 1..=WALKS {
            if self.is_equal(partition).await? {
                return Ok(());
            }
            if walks + 1 >= WALKS {
                let reconciler = &self.rebuilds.reconciler;
                for build in [&self.definition.live, self.next] {
                    reconciler.recount(self.definition, build, partition, turn).await?;
                }
            }
            self.walk(partition, None, turn).await?;
        }
        let equal = self.is_equal(partition).await?;
        if equal { Ok(()) } else { Err(Ended::GivenUp(format!("partition {partition} differs after {WALKS} walks"))) }
    }

    /// Compares the two generations of a partition.
    async fn is_equal(&self, partition: u8) -> Result<bool, Ended> {
        let state = self.rebuilds.store.partition(&self.definition.name, partition).await?;
        let state = state.filter(|state| state.epoch == self.definition.epoch).ok_or(Error::WriteConflict)?;
        let checksum = |build: &Build| state.checksum(build.generation.number);
        Ok(checksum(&self.definition.live) == checksum(self.next))
    }

    async fn walk(&mut self, partition: u8, from: Option<u64>, turn: &mut Turn) -> Result<(), Ended> {
        let store = &self.rebuilds.store;
        let (name, live) = (&self.definition.name, &self.definition.live);
        let size = store.partition_size(name, live.generation.number, partition).await?;
        let mut walk = Walk::new(partition, size, from);
        loop {
            let start = Instant::now();
            let Some(page) = walk.step(store, name, live).await? else { return Ok(()) };
            let documents = page.len();
            self.copy(partition, page).await?;
            let fields = [(&*field(partition), walk.next_number()), ("copied", self.copied)];
            turn.save(self.next.generation.number, &fields).await?;
            sleep(self.rebuilds.settings.pause(documents, start.elapsed())).await;
        }
    }

    /// Copies the documents of a page. Their terms are added to the lexicon before, and those of documents that were not copied
    /// are taken out afterwards: a writer that removes a copied document at once must find its terms there.
    async fn copy(&mut self, partition: u8, page: Vec<Found>) -> Result<(), Ended> {
        let (store, batch) = (&self.rebuilds.store, BatchId::new());
        let copies = self.copies(page).await?;
        self.count(&batch.part("+"), copies.iter().map(|copy| (copy, 1))).await?;
        let mut left = Vec::new();
        for copies in copies.chunks(BATCH) {
            let results = store.copy(self.definition, partition, copies).await?;
            left.extend(
                copies.iter().zip(results).filter(|(_, result)| *result != Copied::Done).map(|(copy, _)| (copy, -1)),
            );
        }
        self.copied += (copies.len() - left.len()) as u64;
        self.count(&batch.part("-"), left.into_iter()).await
    }

    /// Documents of a page in the form of the next schema, without those that changed since they were read.
    async fn copies(&self, page: Vec<Found>) -> Result<Vec<Copy>, Ended> {
        let mut copies = Vec::with_capacity(page.len());
        for found in page {
            match convert(&found.document, &self.next.schema) {
                Ok(document) => {
                    let collection = &self.definition.name.collection;
                    let indexed = Indexed::new(&self.next.schema, &self.layout, collection, &document);
                    copies.push(Copy { id: document.id, revision: found.revision, indexed });
                }
                Err(misfit) => self.judge(&found, &misfit).await?,
            }
        }
        Ok(copies)
    }

    /// Changes the frequencies of the documents' terms in the next generation's lexicon.
    async fn count(&self, batch: &str, documents: impl Iterator<Item = (&Copy, i64)>) -> Result<(), Ended> {
        let mut terms: BTreeMap<&str, i64> = BTreeMap::new();
        for (copy, by) in documents {
            for term in copy.indexed.terms.split_ascii_whitespace() {
                *terms.entry(term).or_default() += by;
            }
        }
        if terms.is_empty() {
            return Ok(());
        }
        let terms: Vec<_> = terms.into_iter().map(|(term, by)| (term.to_owned(), by)).collect();
        self.rebuilds.store.lexicon_update(&self.definition.name, self.next.generation.number, batch, &terms).await?;
        Ok(())
    }
}

impl Fill<'_> {
    /// Gives up for a misfit, unless the document has changed since it was read: its writer has judged it then.
    async fn judge(&self, found: &Found, misfit: &Misfit) -> Result<(), Ended> {
        let (name, live) = (&self.definition.name, &self.definition.live);
        let loaded = self.rebuilds.store.load(name, live, std::slice::from_ref(&found.document.id)).await?;
        let current = loaded.into_iter().flatten().next().map(|loaded| loaded.stored.revision);
        if current == Some(found.revision) { Err(Ended::GivenUp(misfit.to_string())) } else { Ok(()) }
    }
}

/// Field of the checkpoint: first number of a partition that was not copied yet.
fn field(partition: u8) -> String {
    format!("p{partition}")
}

// === impl Settings ===

impl super::Settings {
    /// Pause after a page that took `took`: keeps the pace, and leaves the engine to searches for as long as the page took it.
    fn pause(&self, documents: usize, took: Duration) -> Duration {
        let share = if self.pace == 0 {
            0.0
        } else {
            f64::from(u32::try_from(documents).unwrap_or(u32::MAX)) / f64::from(self.pace)
        };
        Duration::from_secs_f64(share).saturating_sub(took).max(took / 2).min(LONGEST_PAUSE)
    }
}

// === impl Ended ===

impl From<Interrupt> for Ended {
    fn from(interrupt: Interrupt) -> Ended {
        Ended::Interrupted(interrupt)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        if let Error::Corrupt(what) = error {
            return Ended::GivenUp(what.to_owned());
        }
        Ended::Interrupted(Interrupt::Failed(error))
    }
}

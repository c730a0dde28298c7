//! Figures of collections in use: counters, and a sample of the documents' values. Searches are planned with them.
//!
//! Sums and counters are renewed in the background once they are half a second old, and waited for once they are a second old; a
//! search that presents a freshness token reads them anew. A sample holds at most 1,000 documents; a search uses one of any age,
//! and renews it in the background once it is 30 s old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyplane_contracts::names::{CollectionName, Id};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::domain::estimate::to_float;
use crate::domain::{Clause, Placement, Scope, Spread, spread};
use crate::error::Error;
use crate::store::{Counters, Find, Row, Store, Totals};

/// Documents of a sample.
const ROWS: u32 = 1_000;
/// Age at which a sample is renewed.
const SAMPLE_AGE: Duration = Duration::from_secs(30);
/// Age at which sums and counters are renewed in the background.
const FRESH: Duration = Duration::from_millis(500);
/// Age up to which sums and counters serve meanwhile.
const TOLERATED: Duration = Duration::from_secs(1);
/// Age up to which counters that no search renews bound estimates.
const TELLING: Duration = Duration::from_mins(1);
/// Longest wait for another call's read of the same figures.
const PATIENCE: Duration = Duration::from_secs(1);
/// Memory of an entry besides its rows, in bytes.
const OVERHEAD: usize = 512;

/// Generation of a collection, whose figures are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Collection.
    pub name: CollectionName,
    /// Number of the generation.
    pub number: u32,
    /// Index of the generation.
    pub placement: Placement,
}

/// Sums of a generation, and the revision before they were read.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Sums over all documents.
    pub totals: Totals,
    /// Revision of the collection: documents that changed later have larger ones.
    pub revision: u64,
    /// Counters of tags, up to a minute older; none if no search has read them since.
    pub counters: Option<Arc<Counters>>,
}

/// Values of some documents, uniform by the hash of their ids.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Documents of the sample.
    pub rows: Vec<SampleRow>,
}

/// Document of a sample.
#[derive(Clone, Debug)]
pub struct SampleRow {
    /// Hash of the id.
    pub spread: u32,
    /// Packed values.
    pub packed: Box<[u8]>,
}

/// Figures of the collections in use. Cheap to clone; clones share their contents.
#[derive(Clone)]
pub struct Samples {
    store: Store,
    known: Arc<Mutex<Known>>,
}

struct Known {
    entries: HashMap<Place, Entry>,
    max_bytes: usize,
    clock: u64,
}

struct Entry {
    slot: Arc<Slot>,
    used: u64,
}

/// Figures of one generation.
#[derive(Default)]
struct Slot {
    figures: Cell<Figures>,
    counters: Cell<Counters>,
    sample: Cell<Sample>,
}

/// Value that is read now and then.
struct Cell<T> {
    /// Locked during a read, so that calls at the same time share it.
    reading: tokio::sync::Mutex<()>,
    /// Value, and the moment at which its read began.
    known: Mutex<Option<(Arc<T>, Instant)>>,
}

/// Hash of a document's id.
#[must_use]
pub fn spread(name: &CollectionName, id: &str) -> u32 {
    // Ids in the index are valid: they were checked when they were written.
    Id::parse(id, "id").map_or(0, |id| Spread::new(&name.collection, &id).number)
}

// === impl Samples ===

impl Samples {
    /// Figures of the collections in `store`, none of them known yet. Samples take at most `max_bytes`; the least recently used
    /// ones are dropped.
    #[must_use]
    pub fn new(store: Store, max_bytes: usize) -> Samples {
        let known = Known { entries: HashMap::new(), max_bytes, clock: 0 };
        Samples { store, known: Arc::new(Mutex::new(known)) }
    }

    /// Sums that are at most a second old, or read after this call if `fresh`; with the counters that are known. Cancel safe.
    ///
    /// # Errors
    ///
    /// Index that the engine still fills, or that is gone; error of the store.
    pub async fn figures(&self, place: &Place, fresh: bool) -> Result<Arc<Figures>, Error> {
        let slot = self.slot(place);
        let (this, of) = (self.clone(), place.clone());
        let read = move |slot: Arc<Slot>| async move {
            let figures = this.read_figures(&of, &slot).await?;
            Ok(slot.figures.keep(figures))
        };
        current(slot, fresh, |slot| &slot.figures, read).await
    }

    /// Counters of tags that are at most a second old, or read after this call if `fresh`. Cancel safe.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn counters(&self, place: &Place, fresh: bool) -> Result<Arc<Counters>, Error> {
        let slot = self.slot(place);
        let (store, of) = (self.store.clone(), place.clone());
        let read = move |slot: Arc<Slot>| async move {
            let asked = Instant::now();
            let counters = store.counters(&of.name, of.number).await?;
            Ok(slot.counters.keep((counters, asked)))
        };
        current(slot, fresh, |slot| &slot.counters, read).await
    }

    /// Sample of a generation with so many documents. The first one is waited for; an old one is renewed in the background.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Error of the store, from the first read.
    pub async fn sample(&self, place: &Place, documents: u64) -> Result<Arc<Sample>, Error> {
        let slot = self.slot(place);
        let known = slot.sample.known.lock().clone();
        if let Some((sample, asked)) = known {
            if asked.elapsed() >= SAMPLE_AGE {
                let (samples, place) = (self.clone(), place.clone());
                renew(
                    slot,
                    SAMPLE_AGE,
                    |slot| &slot.sample,
                    move |slot| async move { samples.read_sample(&place, &slot, documents).await },
                );
            }
            return Ok(sample);
        }
        let reading = timeout(keyplane_deadline::within(PATIENCE), slot.sample.reading.lock()).await;
        if let Some((sample, _)) = slot.sample.known.lock().clone() {
            return Ok(sample);
        }
        let sample = self.read_sample(place, &slot, documents).await?;
        drop(reading);
        Ok(sample)
    }

    async fn read_figures(&self, place: &Place, slot: &Slot) -> Result<(Figures, Instant), Error> {
        let asked = Instant::now();
        let totals = self.store.totals(&place.name, place.number, place.placement.shape.numbers);
        let ready = self.store.is_index_ready(&place.placement);
        let (revision, totals, is_ready) = tokio::try_join!(self.store.revision(&place.name), totals, ready)?;
        if !is_ready {
            return Err(Error::IndexNotReady { collection: place.name.collection.clone() });
        }
        Ok((Figures { totals, revision, counters: slot.telling_counters() }, asked))
    }

    async fn read_sample(&self, place: &Place, slot: &Slot, documents: u64) -> Result<Arc<Sample>, Error> {
        let asked = Instant::now();
        let share = (f64::from(ROWS) / to_float(documents.max(1))).min(1.0);
        let is_whole = share >= 1.0;
        let last = spread::last(share);
        let (scope, clause) = (Scope::new(&place.name), Clause::always());
        // Counters are no older than a second: a collection that grew since then is cut.
        let find = Find {
            scope: &scope,
            clause: &clause,
            words: &[],
            not_words: &[],
            not_columns: &[],
            spread: (!is_whole).then_some((0, last)),
            texts: &[],
            limit: ROWS * 2,
        };
        let matches = self.store.find(&place.placement, &find).await?;
        let row = |row: &Row| SampleRow {
            spread: spread(&place.name, &row.id),
            packed: row.packed.to_vec().into_boxed_slice(),
        };
        let sample = Sample { rows: matches.rows.iter().map(row).collect() };
        let sample = slot.sample.keep((sample, asked));
        self.known.lock().evict(place);
        Ok(sample)
    }

    fn slot(&self, place: &Place) -> Arc<Slot> {
        let mut known = self.known.lock();
        known.clock += 1;
        let clock = known.clock;
        if !known.entries.contains_key(place) {
            known.evict(place);
        }
        let entry = known.entries.entry(place.clone()).or_insert_with(|| Entry { slot: Arc::default(), used: clock });
        entry.used = clock;
        entry.slot.clone()
    }
}

// === impl Known ===

impl Known {
    /// Drops the least recently used entries, but that of `place`, until the rest fits.
    fn evict(&mut self, place: &Place) {
        let mut bytes: usize = self.entries.values().map(|entry| entry.slot.bytes()).sum();
        while bytes > self.max_bytes {
            let others = self.entries.iter().filter(|(other, _)| *other != place);
            let Some(oldest) = others.min_by_key(|(_, entry)| entry.used).map(|(oldest, _)| oldest.clone()) else {
                return;
            };
            bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.slot.bytes()).min(bytes);
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Counters that are young enough to bound estimates.
    fn telling_counters(&self) -> Option<Arc<Counters>> {
        let now = Instant::now();
        let since = now.checked_sub(TELLING).unwrap_or(now);
        self.counters.since(since).map(|(counters, _)| counters)
    }

    fn bytes(&self) -> usize {
        let counters = self.counters.known.lock();
        let values = counters.as_ref().and_then(|(known, _)| known.values.as_ref());
        let values = values.map(|columns| columns.values().map(HashMap::len).sum::<usize>());
        let sample = self
            .sample
            .known
            .lock()
            .as_ref()
            .map_or(0, |(sample, _)| sample.rows.iter().map(|row| row.packed.len() + size_of::<SampleRow>()).sum());
        OVERHEAD + values.unwrap_or_default() * 64 + sample
    }
}

// === impl Cell ===

impl<T> Default for Cell<T> {
    fn default() -> Cell<T> {
        Cell { reading: tokio::sync::Mutex::default(), known: Mutex::default() }
    }
}

impl<T> Cell<T> {
    /// Value whose read began at `since` or later, and its age.
    fn since(&self, since: Instant) -> Option<(Arc<T>, Duration)> {
        let known = self.known.lock();
        known.as_ref().filter(|(_, asked)| *asked >= since).map(|(value, asked)| (value.clone(), asked.elapsed()))
    }

    /// Keeps the value of the later read.
    fn keep(&self, (value, asked): (T, Instant)) -> Arc<T> {
        let value = Arc::new(value);
        let mut known = self.known.lock();
        if known.as_ref().is_none_or(|(_, other)| *other <= asked) {
            *known = Some((value.clone(), asked));
        }
        value
    }
}

/// Value of a cell: a young one at once, an older one while it is renewed in the background, else one that is read now.
async fn current<T, R>(
    slot: Arc<Slot>,
    fresh: bool,
    cell: fn(&Slot) -> &Cell<T>,
    read: impl FnOnce(Arc<Slot>) -> R + Send + 'static,
) -> Result<Arc<T>, Error>
where
    T: Send + Sync + 'static,
    R: Future<Output = Result<Arc<T>, Error>> + Send + 'static,
{
    let now = Instant::now();
    let since = if fresh { now } else { now.checked_sub(TOLERATED).unwrap_or(now) };
    if let Some((value, age)) = cell(&slot).since(since) {
        if age >= FRESH {
            renew(slot, FRESH, cell, read);
        }
        return Ok(value);
    }
    let reading = timeout(keyplane_deadline::within(PATIENCE), cell(&slot).reading.lock()).await;
    if let Some((value, _)) = cell(&slot).since(since) {
        return Ok(value);
    }
    let value = read(slot.clone()).await?;
    drop(reading);
    Ok(value)
}

/// Reads a value in the background, unless another task does, or has done it.
fn renew<T, R>(
    slot: Arc<Slot>,
    age: Duration,
    cell: fn(&Slot) -> &Cell<T>,
    read: impl FnOnce(Arc<Slot>) -> R + Send + 'static,
) where
    T: Send + Sync + 'static,
    R: Future<Output = Result<Arc<T>, Error>> + Send + 'static,
{
    tokio::spawn(async move {
        let Ok(_reading) = cell(&slot).reading.try_lock() else { return };
        let is_old = cell(&slot).known.lock().as_ref().is_none_or(|(_, asked)| asked.elapsed() >= age);
        if is_old && let Err(error) = read(slot.clone()).await {
            tracing::debug!(%error, "figures of a collection not renewed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_counters_bound_no_estimate() {
        let read = |age: Duration| (Counters::default(), Instant::now().checked_sub(age).expect("a clock past an age"));
        let slot = Slot::default();
        slot.counters.keep(read(TELLING + Duration::from_secs(1)));
        assert!(slot.telling_counters().is_none());
        slot.counters.keep(read(TELLING / 2));
        assert!(slot.telling_counters().is_some());
    }
}

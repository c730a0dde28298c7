//! Lexicons of the collections in use: loaded from the store, followed through their logs, evicted by use.

mod metrics;
mod refresh;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use keyplane_contracts::names::CollectionName;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument;

use crate::domain::lexicon::{Lexicon, LogId};
use crate::error::Error;
use crate::store::Store;
use metrics::Metrics;

/// Age up to which a lexicon serves without a look at its log.
const FRESH: Duration = Duration::from_secs(1);
/// Age up to which a lexicon serves while another search reads its log.
const TOLERATED: Duration = Duration::from_secs(2);
/// Bytes of a slot besides its lexicon.
const SLOT: usize = 512;

/// Lexicons in memory. Clones share them.
#[derive(Clone)]
pub struct Lexicons(Arc<Shared>);

struct Shared {
    store: Store,
    /// Maximum of all lexicons' bytes.
    limit: usize,
    slots: Mutex<HashMap<Id, Arc<Slot>>>,
    /// Counts uses, to order the slots by their last one.
    clock: AtomicU64,
    metrics: Metrics,
}

/// Generation of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id {
    collection: CollectionName,
    generation: u32,
}

/// Place of one lexicon.
struct Slot {
    id: Id,
    current: ArcSwapOption<Current>,
    /// Held by the one task that reads the store.
    refreshing: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one task that merges the overlay.
    merging: Arc<tokio::sync::Mutex<()>>,
    used: AtomicU64,
}

/// Lexicon in force.
struct Current {
    lexicon: Arc<Lexicon>,
    /// Time before the log was read.
    read: Instant,
}

// === impl Lexicons ===

impl Lexicons {
    /// Lexicons that take at most `limit` bytes together; one that is larger by itself stays until another is used.
    #[must_use]
    pub fn new(store: Store, limit: usize) -> Lexicons {
        let slots = Mutex::default();
        let shared = Arc::new(Shared { store, limit, slots, clock: AtomicU64::new(0), metrics: Metrics::new() });
        metrics::publish(&shared);
        Lexicons(shared)
    }

    /// Bytes of all lexicons in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Lexicon of a generation, at most a second old (two while another search reads its log). With `at_least`, it has that
    /// log entry.
    ///
    /// One task reads the store; other searches wait for it, or use the lexicon that they have. Cancel-safe: the task goes on.
    ///
    /// # Errors
    ///
    /// [`Error::NotVisible`] if the log does not reach `at_least`; [`Error::IndexNotReady`] if the generation has no log, because it
    /// is not open yet or was deleted; errors of the store.
    pub async fn get(
        &self,
        collection: &CollectionName,
        generation: u32,
        at_least: Option<LogId>,
    ) -> Result<Arc<Lexicon>, Error> {
        let slot = self.0.slot(Id { collection: collection.clone(), generation });
        if let Some(lexicon) = self.0.usable(&slot, at_least, FRESH) {
            return Ok(lexicon);
        }
        let turn = match Arc::clone(&slot.refreshing).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(lexicon) = self.0.usable(&slot, at_least, TOLERATED) {
                    return Ok(lexicon);
                }
                let turn = Arc::clone(&slot.refreshing).lock_owned().await;
                if let Some(lexicon) = self.0.usable(&slot, at_least, FRESH) {
                    return Ok(lexicon);
                }
                turn
            }
        };
        let lexicon = self.refresh(slot, turn).await?;
        if at_least.is_some_and(|id| lexicon.version() < id) {
            return Err(Error::NotVisible);
        }
        Ok(lexicon)
    }

    /// Lexicon of a generation with every word that was written before this call. Cancel-safe: the task that reads goes on.
    ///
    /// # Errors
    ///
    /// Those of [`Lexicons::get`], but for [`Error::NotVisible`].
    pub async fn latest(&self, collection: &CollectionName, generation: u32) -> Result<Arc<Lexicon>, Error> {
        let now = Instant::now();
        let slot = self.0.slot(Id { collection: collection.clone(), generation });
        let turn = Arc::clone(&slot.refreshing).lock_owned().await;
        // Another search may have read the log meanwhile.
        if let Some(current) = slot.current.load_full().filter(|current| current.read >= now) {
            return Ok(Arc::clone(&current.lexicon));
        }
        self.refresh(slot, turn).await
    }

    async fn refresh(&self, slot: Arc<Slot>, turn: OwnedMutexGuard<()>) -> Result<Arc<Lexicon>, Error> {
        let refresh = refresh::refresh(Arc::clone(&self.0), slot, turn).in_current_span();
        let lexicon = match tokio::spawn(refresh).await {
            Ok(refreshed) => refreshed?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.0.metrics.lag(Duration::ZERO);
        Ok(lexicon)
    }
}

// === impl Shared ===

impl Shared {
    fn bytes(&self) -> usize {
        total(&self.slots.lock())
    }

    /// Slot of a generation, marked as used.
    fn slot(&self, id: Id) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(id).or_insert_with_key(|id| Arc::new(Slot::new(id.clone())));
        slot.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Arc::clone(slot)
    }

    /// Lexicon of a slot, if it is no older than `age` and has `at_least`.
    fn usable(&self, slot: &Slot, at_least: Option<LogId>, age: Duration) -> Option<Arc<Lexicon>> {
        let current = slot.current.load_full()?;
        let lag = current.read.elapsed();
        let usable = lag <= age && at_least.is_none_or(|id| current.lexicon.version() >= id);
        usable.then(|| {
            self.metrics.lag(lag);
            Arc::clone(&current.lexicon)
        })
    }

    /// Puts a lexicon in force, and evicts those that were not used for longest while all exceed the limit.
    fn install(&self, slot: &Slot, lexicon: Arc<Lexicon>, read: Instant) {
        slot.current.store(Some(Arc::new(Current { lexicon, read })));
        let mut slots = self.slots.lock();
        let mut bytes = total(&slots);
        while bytes > self.limit {
            let others = slots.values().filter(|other| other.id != slot.id);
            let Some(oldest) = others.min_by_key(|other| other.used.load(Ordering::Relaxed)).cloned() else { return };
            bytes = bytes.saturating_sub(oldest.bytes());
            slots.remove(&oldest.id);
            self.metrics.evicted();
        }
    }
}

/// Bytes of all slots.
fn total(slots: &HashMap<Id, Arc<Slot>>) -> usize {
    slots.values().map(|slot| slot.bytes()).sum()
}

// === impl Slot ===

impl Slot {
    fn new(id: Id) -> Slot {
        let used = AtomicU64::new(0);
        Slot { id, current: ArcSwapOption::empty(), refreshing: Arc::default(), merging: Arc::default(), used }
    }

    fn bytes(&self) -> usize {
        SLOT + self.current.load().as_ref().map_or(0, |current| current.lexicon.bytes())
    }
}

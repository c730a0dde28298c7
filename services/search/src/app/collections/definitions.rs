//! Definitions in this process: at most a second old, and reloaded when a write or a token knows of a later one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::domain::definition::AGE;
use crate::domain::{CollectionState, Definition};
use crate::error::Error;
use crate::store::Store;

/// Longest wait for another call's read of the same definition.
const PATIENCE: Duration = Duration::from_secs(1);
/// Maximum of definitions in memory, some 4 KiB each.
const MAX_KNOWN: usize = 4_096;

/// Definitions in this process. Cheap to clone; clones share their contents.
#[derive(Clone)]
pub struct Definitions {
    store: Store,
    slots: Arc<Mutex<HashMap<CollectionName, Arc<Slot>>>>,
}

/// Definition of one collection, as it was last read.
#[derive(Default)]
struct Slot {
    /// Locked during a read, so that calls at the same time share it.
    reading: tokio::sync::Mutex<()>,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    definition: Arc<Definition>,
    /// Moment at which the read began.
    asked: Instant,
}

// === impl Definitions ===

impl Definitions {
    /// Definitions of `store`, none of them known yet.
    #[must_use]
    pub fn new(store: Store) -> Definitions {
        Definitions { store, slots: Arc::default() }
    }

    /// Definition that is at most a second old.
    ///
    /// # Errors
    ///
    /// Missing collection, or an error of the store.
    pub async fn get(&self, name: &CollectionName) -> Result<Arc<Definition>, Error> {
        let now = Instant::now();
        self.since(name, now.checked_sub(AGE).unwrap_or(now)).await
    }

    /// Definition of `epoch` or a later one, if the store has it; else the store's present one.
    ///
    /// # Errors
    ///
    /// Missing collection, or an error of the store.
    pub async fn at_least(&self, name: &CollectionName, epoch: u64) -> Result<Arc<Definition>, Error> {
        let definition = self.get(name).await?;
        if definition.epoch >= epoch { Ok(definition) } else { self.reload(name).await }
    }

    /// Definition that is read after this call; calls at the same time share a read.
    ///
    /// # Errors
    ///
    /// Missing collection, or an error of the store.
    pub async fn reload(&self, name: &CollectionName) -> Result<Arc<Definition>, Error> {
        self.since(name, Instant::now()).await
    }

    /// Drops what is known of a collection, after this process has changed it.
    pub(crate) fn forget(&self, name: &CollectionName) {
        self.slots.lock().remove(name);
    }

    /// Definition whose read began at `since` or later. Cancel safe.
    async fn since(&self, name: &CollectionName, since: Instant) -> Result<Arc<Definition>, Error> {
        let slot = self.slot(name);
        if let Some(definition) = slot.since(since) {
            return Ok(definition);
        }
        // After the wait, the call reads for itself.
        let reading = timeout(keyplane_deadline::within(PATIENCE), slot.reading.lock()).await;
        if let Some(definition) = slot.since(since) {
            return Ok(definition);
        }
        let asked = Instant::now();
        let definition = self.store.definition(name).await?;
        drop(reading);
        let Some(definition) = definition.filter(|definition| definition.state == CollectionState::Active) else {
            self.forget(name);
            return Err(Error::CollectionNotFound { collection: name.collection.clone() });
        };
        Ok(slot.keep(Known { definition: Arc::new(definition), asked }))
    }

    fn slot(&self, name: &CollectionName) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if slots.len() >= MAX_KNOWN && !slots.contains_key(name) {
            let now = Instant::now();
            slots.retain(|_, slot| slot.known.lock().as_ref().is_some_and(|known| now - known.asked < AGE));
            if slots.len() >= MAX_KNOWN {
                slots.clear();
            }
        }
        slots.entry(name.clone()).or_default().clone()
    }
}

// === impl Slot ===

impl Slot {
    fn since(&self, since: Instant) -> Option<Arc<Definition>> {
        let known = self.known.lock();
        known.as_ref().filter(|known| known.asked >= since).map(|known| known.definition.clone())
    }

    /// Keeps the definition of the later read.
    fn keep(&self, read: Known) -> Arc<Definition> {
        let mut known = self.known.lock();
        if known.as_ref().is_none_or(|known| known.asked <= read.asked) {
            *known = Some(read.clone());
        }
        read.definition
    }
}

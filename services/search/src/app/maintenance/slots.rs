//! Places for visits: many short ones, and a few that copy, remove or recount documents.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Places for the visits of an instance. Clones share them.
#[derive(Clone)]
pub(super) struct Slots {
    looks: Arc<Semaphore>,
    long: Arc<Semaphore>,
    freed: Arc<Notify>,
}

/// Place of one visit, free again when it is dropped.
pub(super) struct Slot {
    slots: Slots,
    permit: Option<OwnedSemaphorePermit>,
    is_long: bool,
}

// === impl Slots ===

impl Slots {
    /// Places for `looks` short visits and `long` long ones. `freed` is notified of a place that is free again.
    pub(super) fn new(looks: usize, long: usize, freed: Arc<Notify>) -> Slots {
        Slots { looks: Arc::new(Semaphore::new(looks)), long: Arc::new(Semaphore::new(long)), freed }
    }

    /// Number of free places for short visits.
    pub(super) fn free(&self) -> usize {
        self.looks.available_permits()
    }

    /// Takes a place for a short visit. Cancel safe.
    pub(super) async fn take(&self) -> Slot {
        // Nobody closes the semaphore; without a permit, a visit would take no place.
        let permit = self.looks.clone().acquire_owned().await.ok();
        Slot { slots: self.clone(), permit, is_long: false }
    }

    /// Waits until a place is free again. Cancel safe.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

// === impl Slot ===

impl Slot {
    /// Changes over to a place for long visits, and leaves its own to another visit; `false` without a free one.
    pub(super) fn lengthen(&mut self) -> bool {
        if !self.is_long
            && let Ok(permit) = self.slots.long.clone().try_acquire_owned()
        {
            self.permit = Some(permit);
            self.is_long = true;
            self.slots.freed.notify_one();
        }
        self.is_long
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permit = None;
        self.slots.freed.notify_one();
    }
}

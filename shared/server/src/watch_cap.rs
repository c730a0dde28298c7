use std::sync::Arc;

use keyplane_contracts::reasons::kit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Description, ServiceError};

/// Cap on the watches that one instance serves at the same time.
#[derive(Debug)]
pub struct WatchCap {
    free: Arc<Semaphore>,
    limit: usize,
}

/// Permit of one open watch; dropping it makes room for another.
#[derive(Debug)]
pub struct WatchPermit(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

/// Rejection of a watch beyond the cap of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this instance serves {limit} watches, its cap; retry on another instance")]
pub struct TooManyWatches {
    /// Maximum of watches.
    pub limit: usize,
}

// === impl WatchCap ===

impl WatchCap {
    /// Cap of `limit` watches.
    #[must_use]
    pub fn new(limit: usize) -> WatchCap {
        WatchCap { free: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Takes a permit, without waiting.
    ///
    /// # Errors
    ///
    /// [`TooManyWatches`] while all permits are taken.
    pub fn acquire(&self) -> Result<WatchPermit, TooManyWatches> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        permit.map(WatchPermit).map_err(|_| TooManyWatches { limit: self.limit })
    }
}

// === impl TooManyWatches ===

impl ServiceError for TooManyWatches {
    fn describe(&self) -> Description<'_> {
        let limit = self.limit;
        let description = Description::new(&kit::TOO_MANY_WATCHES).with("max_watches", limit);
        description.quota("instance", format!("at most {limit} watches"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_beyond_the_cap_is_rejected_until_one_ends() {
        let cap = WatchCap::new(2);
        let (first, _second) = (cap.acquire().expect("room"), cap.acquire().expect("room"));
        assert_eq!(cap.acquire().err(), Some(TooManyWatches { limit: 2 }));
        drop(first);
        assert!(cap.acquire().is_ok());
    }
}

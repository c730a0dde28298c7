//! Open watches: their cap, and their end at a shutdown.

use std::time::Duration;

use keyplane_contracts::names::UserName;
use keyplane_server::{Drain, WatchCap, WatchPermit};

use super::Watcher;
use crate::domain::{Event, WatchTarget};
use crate::error::Error;
use crate::store::Store;

/// Watches of this instance.
#[derive(Debug)]
pub(crate) struct Watches {
    cap: WatchCap,
    heartbeat: Duration,
    drain: Drain,
}

/// Watch that has begun: a failure at the start was the status of the call.
pub(crate) struct OpenWatch {
    /// User whose sessions are watched.
    pub(crate) user: UserName,
    /// Silence after which a browser is sent a comment line.
    pub(crate) heartbeat: Duration,
    watcher: Watcher,
    drain: Drain,
    _permit: WatchPermit,
}

// === impl Watches ===

impl Watches {
    /// Allows `limit` watches, until `drain` starts. Event streams of browsers get a comment line after `heartbeat`.
    pub(crate) fn new(limit: usize, heartbeat: Duration, drain: Drain) -> Watches {
        Watches { cap: WatchCap::new(limit), heartbeat, drain }
    }

    /// Opens a watch and begins it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyWatches`], or those of [`Watcher::begin`].
    pub(crate) async fn open(&self, store: &Store, target: WatchTarget) -> Result<OpenWatch, Error> {
        let permit = self.cap.acquire()?;
        let user = target.user.clone();
        let mut watcher = Watcher::new(store, target);
        watcher.begin().await?;
        Ok(OpenWatch { user, heartbeat: self.heartbeat, watcher, drain: self.drain.clone(), _permit: permit })
    }
}

// === impl OpenWatch ===

impl OpenWatch {
    /// Returns the next event; `None` at the end. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::ShuttingDown`], or those of [`Watcher::next`].
    pub(crate) async fn next(&mut self) -> Option<Result<Event, Error>> {
        tokio::select! {
            biased;
            () = self.drain.started() => Some(Err(Error::ShuttingDown)),
            event = self.watcher.next() => event,
        }
    }
}

//! Handle of the revocation replica: starts its tasks, and shows what they know.

use std::sync::Arc;
use std::time::Duration;

use keyplane_revocation::{Sequence, Stats};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::shared::{Applied, Head, Shared};
use super::{Propagation, Settings, follow, gauges, lease, maintenance, propagation};
use crate::domain::Record;
use crate::error::Error;
use crate::store::Store;

/// Revocation replica that follows the feed. Clones share it; dropping the last one ends its tasks and closes its
/// connections.
#[derive(Clone)]
pub struct Mirror {
    pub(in crate::app) shared: Arc<Shared>,
    _tasks: Arc<JoinSet<()>>,
}

// === impl Mirror ===

impl Mirror {
    /// Starts to follow the feed, in tasks of its own, once the store is usable; returns at once. Must be called within
    /// a tokio runtime, and after telemetry is set up.
    #[must_use]
    pub fn start(store: Store, settings: Settings) -> Mirror {
        let shared = Arc::new(Shared::new(store, settings));
        tracing::info!(instance = &*shared.instance, "following the feed of revocations");
        gauges::register(&shared);
        let mut tasks = JoinSet::new();
        for partition in 0..shared.store.partitions() {
            tasks.spawn(follow::run(shared.clone(), partition));
        }
        tasks.spawn(lease::run(shared.clone()));
        tasks.spawn(maintenance::run(shared.clone()));
        tasks.spawn(maintenance::beat(shared.clone()));
        Mirror { shared, _tasks: Arc::new(tasks) }
    }

    /// Readiness: turns true once every partition was read to its head and the other instances know of this one.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.shared.readiness.ready()
    }

    /// Position of the replica in the feed. No I/O, no allocation.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// Subscribes to every entry that is applied from now on, in order within its partition. Entries of a feed that is
    /// read anew are left out, and the epoch changes first. A subscriber more than [`Settings::backlog`] behind gets an
    /// error.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Applied> {
        self.shared.changes.subscribe()
    }

    /// Follows the epoch: the receiver changes with each new one.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.shared.coverage.epochs()
    }

    /// Applies a revocation that this instance wrote itself, at once. The feed brings it again, which changes nothing.
    pub fn apply(&self, record: &Record) {
        self.shared.apply_own(record);
    }

    /// Waits at most `within` until every live instance has applied `sequence`. Asks the store at once, and then every
    /// 10 ms.
    ///
    /// # Errors
    ///
    /// Error of the store, if it never answered within that time. Cancel safe.
    pub async fn wait(&self, sequence: &Sequence, within: Duration) -> Result<Propagation, Error> {
        propagation::wait(&self.shared, sequence, within).await
    }

    /// Ends this instance's lease, so that nobody waits for it. Memory goes on following the feed. The store is written
    /// to once; if it is unavailable, the lease runs out. Cancel safe.
    pub async fn leave(&self) {
        lease::leave(&self.shared).await;
    }

    /// Size of memory. O(filters).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.memory.stats()
    }
}

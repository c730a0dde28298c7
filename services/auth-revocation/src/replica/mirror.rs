//! The handle of the replica.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use keyplane_revocation::{Entry, Sequence, Stats};
use keyplane_valkey::Valkey;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::shared::Shared;
use super::{Settings, barrier, follow, lease, pulse, upkeep};
use crate::domain::Record;
use crate::error::Error;
use crate::store::Store;
use crate::store::feed::FeedRecord;

/// A replica of all revocations in memory, which follows the feed. Clones share it; dropping the last one ends its tasks
/// and closes its connections.
#[derive(Clone)]
pub struct Mirror {
    pub(super) shared: Arc<Shared>,
    _tasks: Arc<JoinSet<()>>,
}

/// An entry of the feed that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its partition.
    pub partition: u32,
    /// Its number there.
    pub seq: u64,
    /// Its id in the stream.
    pub id: Arc<str>,
    /// What it says.
    pub entry: Arc<Entry>,
}

/// How far the replica is.
#[derive(Clone, Debug)]
pub struct Head {
    /// What was applied, in [`Sequence::encode`]'s form.
    pub sequence: Arc<str>,
    /// Changes when the feed can't be compared with what was before: the instance, and a count.
    pub epoch: Arc<str>,
    /// Everything that was acknowledged so long ago is in `sequence`, and in memory. `None` where that can't be said: at
    /// the start, and while the store and memory are being reconciled.
    pub age: Option<Duration>,
}

/// What became of waiting for a revocation to arrive everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// Whether every live instance has it.
    pub complete: bool,
    /// Live instances, this one among them.
    pub instances: usize,
    /// Those that have not told of it, by name.
    pub lagging: Vec<String>,
}

// === impl Mirror ===

impl Mirror {
    /// Starts to follow the feed, in tasks of its own, once the store holds this program's layout; returns at once. A
    /// store that is away is waited for. Must be called within a tokio runtime, and after telemetry is set up.
    #[must_use]
    pub fn start(valkey: Valkey, store: Store, settings: Settings) -> Mirror {
        let shared = Arc::new(Shared::new(valkey, store, settings));
        tracing::info!(instance = shared.instance, "following the feed of revocations");
        shared.observe();
        let mut tasks = JoinSet::new();
        for partition in 0..shared.store.partitions() {
            tasks.spawn(follow::run(shared.clone(), partition));
        }
        tasks.spawn(lease::run(shared.clone()));
        tasks.spawn(upkeep::run(shared.clone()));
        tasks.spawn(pulse::run(shared.clone()));
        Mirror { shared, _tasks: Arc::new(tasks) }
    }

    /// Turns true once every partition was read to its head and the other instances know of this one, and stays true.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.shared.ready.subscribe()
    }

    /// The name of this instance, `<host>-<pid>-<4 hex digits>`: no two that run at the same time have the same.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// How far the replica is. No I/O, no allocation.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// Whether memory now holds everything in `sequence`.
    #[must_use]
    pub fn covers(&self, sequence: &Sequence) -> bool {
        self.shared.covered.read().sequence.covers(sequence)
    }

    /// Every entry that is applied from now on, but for those of a feed that is read anew: then the epoch has changed
    /// first. Of each partition in order. A subscriber that is more than [`Settings::backlog`] behind misses some, and is
    /// told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Applied> {
        self.shared.changes.subscribe()
    }

    /// Changes with each new epoch; holds its text.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.shared.epochs.subscribe()
    }

    /// Takes in what this instance wrote itself, at once; the feed brings it again, which changes nothing.
    pub fn apply(&self, record: &Record) {
        self.shared.apply_own(record);
    }

    /// At most `count` entries of a partition's feed after the stream id `after`, or from its start; the oldest first.
    /// Fewer than `count` means that there are no more now.
    ///
    /// # Errors
    ///
    /// The store's; [`Error::Corrupt`]. Cancel safe.
    pub async fn feed_page(&self, partition: u32, after: Option<&str>, count: u64) -> Result<Vec<FeedRecord>, Error> {
        self.shared.feed_page(partition, after, count).await
    }

    /// Waits until every live instance has applied `sequence`, at most for `within`; looks at once, and then every 10 ms.
    ///
    /// # Errors
    ///
    /// The store's, if it never answered within that time. Cancel safe.
    pub async fn wait(&self, sequence: &Sequence, within: Duration) -> Result<Propagation, Error> {
        barrier::wait(&self.shared, sequence, within).await
    }

    /// Tells the others that this instance is about to end, so that nobody waits for it. Memory goes on; the store is told
    /// once, and if it is away, the lease ends by itself. Cancel safe.
    pub async fn leave(&self) {
        lease::leave(&self.shared).await;
    }

    /// What memory holds, and in how many bytes. O(filters).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.replica.stats()
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("instance", &self.shared.instance).finish_non_exhaustive()
    }
}

//! State of the store, as far as is known: of all of it, and of each node.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::breaker::Breaker;
use crate::observe::Observer;
use crate::topology::Topology;
use crate::{BreakerSettings, Key};

/// Shared by all connections of one `Valkey`.
pub(crate) struct Common {
    pub(crate) observer: Observer,
    pub(crate) closed: AtomicBool,
    pub(crate) command_timeout: Duration,
    /// Changes whenever a connection comes up, or the slots of a cluster get other owners.
    pub(crate) changed: watch::Sender<()>,
    /// Owners of a cluster's slots.
    pub(crate) topology: Option<Arc<Topology>>,
    /// The key that probes read, once one is known that this user may read.
    pub(crate) probe: OnceLock<Key>,
}

/// State of one node: a sick one says nothing about the others.
pub(crate) struct Health {
    pub(crate) common: Arc<Common>,
    pub(crate) breaker: Breaker,
    /// The node refused user or password last time.
    pub(crate) denied: AtomicBool,
    /// The node's address, for the log.
    node: String,
}

// === impl Common ===

impl Common {
    /// The owners of slots, as far as they are known, may be others by now.
    pub(crate) fn doubt(&self) {
        if let Some(topology) = &self.topology {
            topology.doubt();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn new(common: Arc<Common>, breaker: BreakerSettings, node: String) -> Health {
        Health { common, breaker: Breaker::new(breaker), denied: AtomicBool::new(false), node }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn answered(&self) {
        if self.breaker.answered() {
            self.common.observer.breaker(-1);
            tracing::info!(node = self.node, "the store answers again");
        }
    }

    /// Returns whether the breaker opened just now.
    pub(crate) fn failed(&self) -> bool {
        let opened = self.breaker.failed();
        if opened {
            self.common.observer.breaker(1);
            self.common.doubt();
            tracing::warn!(node = self.node, "the store does not answer, calls fail at once until it does");
        }
        opened
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        if self.breaker.is_open() {
            self.common.observer.breaker(-1);
        }
    }
}

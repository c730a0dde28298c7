//! Known state of the store: common to all nodes, and of each node.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::breaker::Breaker;
use crate::observe::Observer;
use crate::topology::Topology;
use crate::{BreakerSettings, Key};

/// State that all connections of one `Valkey` share.
pub(crate) struct Common {
    pub(crate) observer: Observer,
    pub(crate) closed: AtomicBool,
    pub(crate) command_timeout: Duration,
    /// Change signal: a connection came up, or slots of a cluster got other owners.
    pub(crate) changed: watch::Sender<()>,
    /// Owners of a cluster's slots.
    pub(crate) topology: Option<Arc<Topology>>,
    /// Key that probes read; empty until one is known that this user may read.
    pub(crate) probe: OnceLock<Key>,
}

/// State of one node.
pub(crate) struct Health {
    pub(crate) common: Arc<Common>,
    pub(crate) breaker: Breaker,
    /// True if the node rejected user or password at the last connect.
    pub(crate) denied: AtomicBool,
    /// Address of the node, for the log.
    node: String,
}

// === impl Common ===

impl Common {
    /// Raises a doubt about the known owners of slots.
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

    /// Records an answer.
    pub(crate) fn answered(&self) {
        if self.breaker.answered() {
            self.common.observer.breaker(-1);
            tracing::info!(node = self.node, "the store answers again");
        }
    }

    /// Records a missing answer; returns whether it opened the breaker.
    pub(crate) fn failed(&self) -> bool {
        let opened = self.breaker.failed();
        if opened {
            self.common.observer.breaker(1);
            self.common.doubt();
            tracing::warn!(node = self.node, "the store does not answer; calls fail at once until it does");
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

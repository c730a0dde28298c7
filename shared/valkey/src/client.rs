//! Handle of a pool of connections, which services hold.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fred::types::config::Server;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::health::Common;
use crate::node::Node;
use crate::observe::Observer;
use crate::topology::Topology;
use crate::wire::AbortOnDrop;
use crate::{App, Error, Reach, Settings, SettingsError};

/// Pool of connections to one Valkey server or cluster. Clones and doorbells share it; dropping the last one closes it.
///
/// Calls fail as [`Error`] describes. They are cancel safe: a dropped call's command may still run on the server.
#[derive(Clone)]
pub struct Valkey {
    pub(crate) pool: Arc<Pool>,
}

pub(crate) struct Pool {
    app: App,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) common: Arc<Common>,
    nodes: Nodes,
}

enum Nodes {
    Server(Arc<Node>),
    Cluster { cluster: Arc<Cluster>, _keeper: AbortOnDrop<()> },
}

// === impl Valkey ===

impl Valkey {
    /// Checks the settings, starts to connect in the background, and returns at once. Restores lost connections for ever.
    /// Needs a tokio runtime; call it after telemetry is set up.
    pub fn connect(settings: &Settings, app: App) -> Result<Valkey, SettingsError> {
        let endpoint = Arc::new(Endpoint::new(settings)?);
        let topology = endpoint.clustered.then(|| Arc::new(Topology::new()));
        let common = Arc::new(Common {
            observer: Observer::new(endpoint.host.clone(), endpoint.port),
            closed: AtomicBool::new(false),
            command_timeout: settings.command_timeout,
            changed: watch::Sender::new(()),
            topology: topology.clone(),
            probe: OnceLock::new(),
        });
        let nodes = match topology {
            None => {
                let server = Server::new(endpoint.host.to_string(), endpoint.port);
                Nodes::Server(Node::start(&endpoint, server, common.clone()))
            }
            Some(topology) => {
                let cluster = Arc::new(Cluster::new(endpoint.clone(), common.clone(), topology));
                let keeper = tokio::spawn(cluster.clone().keep());
                Nodes::Cluster { cluster, _keeper: AbortOnDrop(keeper) }
            }
        };
        Ok(Valkey { pool: Arc::new(Pool { app, endpoint, common, nodes }) })
    }

    /// Part of the store that answers now.
    pub fn reach(&self) -> Reach {
        match &self.pool.nodes {
            Nodes::Cluster { cluster, .. } => cluster.reach(),
            Nodes::Server(node) => Reach::single(node.is_well()),
        }
    }

    /// Application whose keys this handle serves.
    pub fn app(&self) -> &App {
        &self.pool.app
    }

    /// Reports whether the URL names a cluster.
    pub fn is_cluster(&self) -> bool {
        self.pool.endpoint.clustered
    }

    /// Waits for calls in flight, at most the command timeout, and closes the connections. Later calls fail with
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn close(&self) {
        let common = &self.pool.common;
        common.closed.store(true, Ordering::Relaxed);
        let wires: Vec<_> = self.pool.nodes().iter().flat_map(|node| node.wires()).collect();
        // Replies come in order, a ping's last.
        let pings = wires.iter().map(|wire| wire.call("PING", Vec::new(), common.command_timeout));
        if join_all(pings).await.iter().any(Result::is_err) {
            tracing::debug!("connections closed before every call had its reply");
        }
        wires.iter().for_each(|wire| wire.close());
    }
}

// === impl Pool ===

impl Pool {
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.nodes {
            Nodes::Cluster { cluster, .. } => Some(cluster),
            Nodes::Server(_) => None,
        }
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        match &self.nodes {
            Nodes::Cluster { cluster, .. } => cluster.nodes(),
            Nodes::Server(node) => vec![node.clone()],
        }
    }

    /// Node that owns `slot`; any healthy node without one.
    pub(crate) fn node(&self, slot: Option<u16>) -> Option<Arc<Node>> {
        match (&self.nodes, slot) {
            (Nodes::Server(node), _) => Some(node.clone()),
            (Nodes::Cluster { cluster, .. }, Some(slot)) => cluster.owner(slot),
            (Nodes::Cluster { cluster, .. }, None) => cluster.any(),
        }
    }

    /// Waits for [`Pool::node`] until `until`.
    pub(crate) async fn node_by(&self, slot: Option<u16>, until: Instant) -> Option<Arc<Node>> {
        let mut changed = self.common.changed.subscribe();
        loop {
            if let Some(node) = self.node(slot) {
                return Some(node);
            }
            // The sender lives in the pool.
            let Ok(Ok(())) = tokio::time::timeout_at(until, changed.changed()).await else { return self.node(slot) };
        }
    }

    /// Error for a call without a node.
    pub(crate) fn no_node(&self, slot: Option<u16>, operation: &'static str) -> Error {
        match self.cluster() {
            Some(cluster) if cluster.is_denied() => Error::denied(operation),
            Some(cluster) if slot.is_some() && !cluster.nodes().is_empty() => Error::no_owner(operation),
            Some(_) | None => Error::not_connected(operation),
        }
    }
}

impl fmt::Debug for Valkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Valkey")
            .field("app", &self.pool.app.as_str())
            .field("host", &self.pool.endpoint.host)
            .field("port", &self.pool.endpoint.port)
            .finish_non_exhaustive()
    }
}

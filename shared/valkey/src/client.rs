//! The handle that services hold.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value as Fred;
use fred::types::config::Server;
use futures::FutureExt as _;
use futures::future::{join_all, select_ok};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::health::Common;
use crate::node::Node;
use crate::observe::{Observer, Operation};
use crate::topology::Topology;
use crate::url::Endpoint;
use crate::wire::AbortOnDrop;
use crate::{App, Doorbells, Error, Feature, Key, Reach, Settings, SettingsError, StreamEntry, Value};

/// A pool of connections to one Valkey server or cluster. Clones and doorbells share it; dropping the last one closes it.
///
/// Every call may fail as [`Error`] describes. Dropping the future of a call is safe at any point: the command may
/// still run on the server.
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
    /// Checks the settings, starts to connect in the background, and returns at once. The connections are restored for
    /// ever. Must be called within a tokio runtime, and after telemetry is set up.
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

    /// Waits until the server answers a ping, and every node of a cluster has connections; at most `within`. Then gives the
    /// last reason why it did not.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        let mut changed = self.pool.common.changed.subscribe();
        loop {
            let error = match self.ping().await {
                Ok(()) if self.reach().is_whole() => return Ok(()),
                Ok(()) => Error::not_connected("PING"),
                Err(error) => error,
            };
            // Beside a connection that comes up, time is a reason to look again: the breaker may just have closed.
            let again = Instant::now() + Duration::from_millis(100);
            if again > until || self.pool.common.is_closed() {
                return Err(error);
            }
            // The sender lives in the pool; an error can't come, and would only mean to look again.
            let _ = tokio::time::timeout_at(again, changed.changed()).await;
        }
    }

    /// Asks the server for a sign of life, under the same rules as any call; in a cluster all nodes, of which one has to
    /// answer.
    pub async fn ping(&self) -> Result<(), Error> {
        let ping = |node| self.ask_node(Operation::read("PING", "none"), node).boxed();
        let nodes = self.pool.nodes();
        if nodes.is_empty() {
            return Err(self.pool.no_node(None, "PING"));
        }
        select_ok(nodes.into_iter().map(ping)).await.map(drop)
    }

    /// Part of the store that is within reach now.
    pub fn reach(&self) -> Reach {
        match &self.pool.nodes {
            Nodes::Cluster { cluster, .. } => cluster.reach(),
            Nodes::Server(node) => Reach::of_one(node.is_well()),
        }
    }

    /// The application whose keys this handle serves.
    pub fn app(&self) -> &App {
        &self.pool.app
    }

    /// Whether it is a cluster, by its URL.
    pub fn is_cluster(&self) -> bool {
        self.pool.endpoint.clustered
    }

    /// All fields of a hash, in no particular order; empty when there is no such key.
    pub async fn hgetall(&self, key: &Key) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.read("HGETALL", key, Vec::new()).await?.pairs().map_err(|error| error.in_operation("HGETALL"))
    }

    /// Some fields of a hash, in the order of `fields`; none for a field that is not there.
    pub async fn hmget(&self, key: &Key, fields: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let names = fields.iter().map(|field| Fred::String((*field).into())).collect();
        let values = self.read("HMGET", key, names).await?.array();
        let decode = |value: Value| if value.is_nil() { Ok(None) } else { value.bytes().map(Some) };
        let values = values.and_then(|values| values.into_iter().map(decode).collect());
        values.map_err(|error| error.in_operation("HMGET"))
    }

    /// The text under a key.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        match self.read("GET", key, Vec::new()).await? {
            Value::Nil => Ok(None),
            other @ (Value::Int(_) | Value::Bytes(_) | Value::Array(_)) => {
                other.bytes().map(Some).map_err(|error| error.in_operation("GET"))
            }
        }
    }

    /// At most `count` entries of a stream between the ids `from` and `to`, both included; `-` and `+` are its ends and
    /// `(` before an id leaves that one out.
    pub async fn xrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let reply = self.read("XRANGE", key, range(from, to, count)).await?;
        reply.entries().map_err(|error| error.in_operation("XRANGE"))
    }

    /// At most `count` entries of a stream between the ids `from` and `to`, both included, the newest first. `+` and `-`
    /// are its ends and `(` before an id leaves that one out.
    pub async fn xrevrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let reply = self.read("XREVRANGE", key, range(from, to, count)).await?;
        reply.entries().map_err(|error| error.in_operation("XREVRANGE"))
    }

    /// The doorbells of a feature. Each call makes a set with a connection of its own: make one and clone it.
    pub fn doorbells(&self, feature: Feature) -> Doorbells {
        Doorbells::new(self.clone(), feature)
    }

    /// Lets calls in flight finish, at most for the command timeout, and closes the connections. Calls that come later
    /// fail with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn close(&self) {
        let common = &self.pool.common;
        common.closed.store(true, Ordering::Relaxed);
        let wires: Vec<_> = self.pool.nodes().iter().flat_map(|node| node.wires()).collect();
        // Replies come in order, so that of a ping comes last.
        let pings = wires.iter().map(|wire| wire.call("PING", Vec::new(), common.command_timeout));
        if join_all(pings).await.iter().any(Result::is_err) {
            tracing::debug!("not every call had its reply before the connections were closed");
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

    /// The node that owns `slot`, or any that is well.
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

    /// The error for a call that no node is there for.
    pub(crate) fn no_node(&self, slot: Option<u16>, operation: &'static str) -> Error {
        match self.cluster() {
            Some(cluster) if cluster.is_denied() => Error::denied(operation),
            Some(cluster) if slot.is_some() && !cluster.nodes().is_empty() => Error::nobody(operation),
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

/// The arguments of a read of a stream, but for its key.
fn range(from: &str, to: &str, count: u64) -> Vec<Fred> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    vec![Fred::String(from.into()), Fred::String(to.into()), Fred::from_static_str("COUNT"), Fred::Integer(count)]
}

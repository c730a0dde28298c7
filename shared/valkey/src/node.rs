//! One node of the store (or the only server), and the connections to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::types::config::Server;
use tokio::time::Instant;

use crate::Error;
use crate::endpoint::Endpoint;
use crate::health::{Common, Health};
use crate::lane::Lane;
use crate::wire::Wire;

pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) health: Arc<Health>,
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

/// Live connection of one of the node's lanes.
pub(crate) struct Connection {
    pub(crate) wire: Arc<Wire>,
    lane: usize,
}

// === impl Node ===

impl Node {
    /// Starts to connect. Needs a tokio runtime.
    pub(crate) fn start(endpoint: &Arc<Endpoint>, server: Server, common: Arc<Common>) -> Arc<Node> {
        let name = format!("{}:{}", server.host, server.port);
        let health = Arc::new(Health::new(common, endpoint.breaker, name));
        let lane = |_| Lane::start(endpoint.clone(), server.clone(), health.clone());
        let lanes = (0..endpoint.connections).map(lane).collect();
        Arc::new(Node { server, health, lanes, next: AtomicUsize::new(0) })
    }

    /// Next live connection, in turn.
    pub(crate) fn connection(&self) -> Option<Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.lanes.len()).find_map(|step| {
            let lane = first.wrapping_add(step) % self.lanes.len();
            self.lanes[lane].wire().map(|wire| Connection { wire, lane })
        })
    }

    /// Waits for a live connection until `until`.
    pub(crate) async fn connection_by(&self, until: Instant) -> Option<Connection> {
        let mut changed = self.health.common.changed.subscribe();
        loop {
            if let Some(connection) = self.connection() {
                return Some(connection);
            }
            // The sender lives as long as the node.
            let Ok(Ok(())) = tokio::time::timeout_at(until, changed.changed()).await else { return self.connection() };
        }
    }

    /// Error for a call that got no connection.
    pub(crate) fn not_connected(&self, operation: &'static str) -> Error {
        if self.health.denied.load(Ordering::Relaxed) {
            Error::denied(operation)
        } else {
            Error::not_connected(operation)
        }
    }

    /// Reports whether the node is known to answer: it has a live connection and a closed breaker.
    pub(crate) fn is_well(&self) -> bool {
        !self.health.breaker.is_open() && self.lanes.iter().any(|lane| lane.wire().is_some())
    }

    /// Probes all connections now rather than at the next heartbeat.
    pub(crate) fn suspect(&self) {
        self.lanes.iter().for_each(Lane::suspect);
    }

    /// Replaces this connection.
    pub(crate) fn replace(&self, connection: &Connection) {
        self.lanes[connection.lane].replace();
    }

    /// Live connections.
    pub(crate) fn wires(&self) -> Vec<Arc<Wire>> {
        self.lanes.iter().filter_map(Lane::wire).collect()
    }
}

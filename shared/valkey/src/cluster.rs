//! Nodes of a cluster, and the owners of its slots.
//!
//! Each node has its own connections and breaker, so a sick node does not affect the others. (fred's own client for
//! clusters drives all nodes in one task, and waits for each.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fred::types::config::Server;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::health::Common;
use crate::node::Node;
use crate::topology::{Slots, Topology};
use crate::{Error, ErrorKind, Reach};

const SLOTS: usize = 16_384;
/// Mark of a slot without an owner.
const NOBODY: u16 = u16::MAX;
/// Pause between two looks at the owners while some node is unavailable: a replica of it may have been promoted.
const UNWELL: Duration = Duration::from_millis(500);
/// Pause between two looks while all nodes answer. The former owner of a moved slot also redirects.
const WELL: Duration = Duration::from_secs(15);
/// Shortest pause between two looks. Looks without news back off up to [`UNWELL`]: each call to a cluster that is down
/// raises a doubt.
const AT_MOST: Duration = Duration::from_millis(50);

pub(crate) struct Cluster {
    endpoint: Arc<Endpoint>,
    common: Arc<Common>,
    topology: Arc<Topology>,
    map: ArcSwap<Map>,
    /// Nodes without a slot that calls were sent to. The lock also covers the making of a map from the last one.
    guests: Mutex<Vec<Guest>>,
    next: AtomicUsize,
    denied: AtomicBool,
}

struct Map {
    /// Index into `nodes` of each slot's owner, or [`NOBODY`].
    owners: Box<[u16; SLOTS]>,
    nodes: Vec<Arc<Node>>,
}

/// Node, and the time of the last call to it.
type Guest = (Arc<Node>, Instant);

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(endpoint: Arc<Endpoint>, common: Arc<Common>, topology: Arc<Topology>) -> Cluster {
        let map = Map { owners: Box::new([NOBODY; SLOTS]), nodes: Vec::new() };
        let (next, denied) = (AtomicUsize::new(0), AtomicBool::new(false));
        Cluster { endpoint, common, topology, map: ArcSwap::from_pointee(map), guests: Mutex::default(), next, denied }
    }

    /// Node that owns `slot`, according to the last look.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.load();
        map.nodes.get(usize::from(map.owners[usize::from(slot)])).cloned()
    }

    /// Node in turn, healthy ones first.
    pub(crate) fn any(&self) -> Option<Arc<Node>> {
        let map = self.map.load();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..map.nodes.len()).map(|step| &map.nodes[first.wrapping_add(step) % map.nodes.len()]);
        in_turn().find(|node| node.is_well()).or_else(|| in_turn().next()).cloned()
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.map.load().nodes.clone()
    }

    pub(crate) fn reach(&self) -> Reach {
        let map = self.map.load();
        let well: Vec<bool> = map.nodes.iter().map(|node| node.is_well()).collect();
        let slots = map.owners.iter().filter(|owner| well.get(usize::from(**owner)) == Some(&true)).count();
        Reach { nodes: well.len(), well: well.iter().filter(|well| **well).count(), share: slots as f64 / SLOTS as f64 }
    }

    /// Follows `MOVED`: records the node that `by` calls `address` as the owner of `slot`, and returns it. Asks the cluster
    /// for at most `within` if the address is unknown. `None` if `address` names no node.
    pub(crate) async fn moved(&self, slot: u16, address: &str, by: &Server, within: Duration) -> Option<Arc<Node>> {
        let known = self.called(address, by);
        self.topology.doubt();
        let server = match known {
            Some(server) => server,
            None => {
                // On failure the address itself is left.
                let _ = self.topology.ask_if_in_doubt(&self.endpoint, within).await;
                self.called(address, by).or_else(|| server_at(address))?
            }
        };
        let guests = self.guests.lock();
        let map = self.map.load();
        let (mut nodes, mut owners) = (map.nodes.clone(), map.owners.clone());
        let index = nodes.iter().position(|node| node.server == server).unwrap_or_else(|| {
            nodes.push(self.guest_or_new(&guests, server));
            nodes.len() - 1
        });
        let node = nodes[index].clone();
        owners[usize::from(slot)] = index as u16;
        self.map.store(Arc::new(Map { owners, nodes }));
        Some(node)
    }

    /// Follows `ASK`: returns the node that `by` calls `address`, which imports a slot. A node without any slot yet is in no
    /// list of owners; the address itself names it. `None` if `address` names no node.
    pub(crate) fn importing(&self, address: &str, by: &Server) -> Option<Arc<Node>> {
        let server = self.called(address, by).or_else(|| server_at(address))?;
        let mut guests = self.guests.lock();
        if let Some(owner) = self.map.load().nodes.iter().find(|node| node.server == server) {
            return Some(owner.clone());
        }
        let node = self.guest_or_new(&guests, server);
        guests.retain(|(guest, _)| !Arc::ptr_eq(guest, &node));
        guests.push((node.clone(), Instant::now()));
        Some(node)
    }

    fn called(&self, address: &str, by: &Server) -> Option<Server> {
        self.topology.known()?.0.called(address, by).cloned()
    }

    fn guest_or_new(&self, guests: &[Guest], server: Server) -> Arc<Node> {
        let guest = guests.iter().find(|(guest, _)| guest.server == server);
        guest.map_or_else(|| self.node(server.clone()), |(guest, _)| guest.clone())
    }

    /// Updates the map until the pool is closed.
    pub(crate) async fn keep(self: Arc<Self>) {
        let (within, mut misconfigured) = (self.endpoint.connection.connection_timeout, false);
        let mut pause = AT_MOST;
        while !self.common.is_closed() {
            let news = match self.topology.ask_if_in_doubt(&self.endpoint, within).await {
                Ok(known) => self.learn(&known.0),
                Err(error) => {
                    self.report(&error, &mut misconfigured);
                    false
                }
            };
            self.common.observer.reachable(self.reach().share);
            pause = if news { AT_MOST } else { (pause * 2).min(UNWELL) };
            tokio::time::sleep(pause).await;
            let (calm, patience) = (Instant::now(), if self.reach().is_whole() { WELL } else { UNWELL });
            if tokio::time::timeout(patience, self.topology.doubted()).await.is_err() {
                self.topology.outdate();
            }
            if calm.elapsed() >= UNWELL {
                pause = AT_MOST;
            }
        }
    }

    /// Makes a map from a node's answer; returns whether it differs from the last one.
    fn learn(&self, slots: &Slots) -> bool {
        self.denied.store(false, Ordering::Relaxed);
        let mut guests = self.guests.lock();
        let old = self.map.load();
        // Each node lists the others in its own order.
        let mut servers: Vec<&Server> = slots.ranges.iter().map(|range| &range.owner).collect();
        servers.sort_unstable();
        servers.dedup();
        let node = |server: &&Server| {
            let kept = old.nodes.iter().find(|node| node.server == **server).cloned();
            kept.unwrap_or_else(|| self.guest_or_new(&guests, (*server).clone()))
        };
        let mut map = Map { owners: Box::new([NOBODY; SLOTS]), nodes: servers.iter().map(node).collect() };
        for range in &slots.ranges {
            let slots = map.owners.get_mut(usize::from(range.first)..=usize::from(range.last));
            if let (Some(slots), Ok(index)) = (slots, servers.binary_search(&&range.owner)) {
                slots.fill(index as u16);
            }
        }
        guests.retain(|(guest, last)| last.elapsed() < WELL && !map.nodes.iter().any(|node| Arc::ptr_eq(node, guest)));
        if map.equals(&old) {
            return false;
        }
        self.map.store(Arc::new(map));
        self.common.changed.send_replace(());
        true
    }

    fn node(&self, server: Server) -> Arc<Node> {
        tracing::debug!(node = %server, "new node of the store's cluster");
        Node::start(&self.endpoint, server, self.common.clone())
    }

    /// Reports whether the nodes rejected user or password at the last look.
    pub(crate) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    fn report(&self, error: &Error, misconfigured: &mut bool) {
        self.denied.store(error.kind() == ErrorKind::Denied, Ordering::Relaxed);
        // A server without cluster mode answers with an error.
        if error.code().is_some() && !std::mem::replace(misconfigured, true) {
            tracing::error!(%error, "the store can't be used as configured; does its url name a cluster, and is it one");
        }
    }
}

// === impl Map ===

impl Map {
    fn equals(&self, other: &Map) -> bool {
        self.owners == other.owners
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(|(node, other)| Arc::ptr_eq(node, other))
    }
}

/// Node at `<host>:<port>`.
fn server_at(address: &str) -> Option<Server> {
    let (host, port) = address.rsplit_once(':').filter(|(host, _)| !host.is_empty())?;
    Some(Server::new(host, port.parse().ok()?))
}

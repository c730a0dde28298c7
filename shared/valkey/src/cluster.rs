//! The nodes of a cluster, and which of them owns which slot.
//!
//! Each node has connections and a breaker of its own, so one that is sick leaves the others alone. (fred's own client for
//! clusters drives all nodes in one task, and waits for each.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fred::types::config::Server;
use parking_lot::Mutex;

use crate::health::Common;
use crate::node::Node;
use crate::topology::{Slots, Topology};
use crate::url::Endpoint;
use crate::{Error, ErrorKind, Reach};

const SLOTS: usize = 16_384;
/// In a map of slots: no node owns it.
const NOBODY: u16 = u16::MAX;
/// Between two looks at who owns what while some node is unwell: one of its replicas may have been promoted.
const UNWELL: Duration = Duration::from_millis(500);
/// The same while all is well. A slot that moves is also learned from the node that had it.
const WELL: Duration = Duration::from_secs(15);
/// Between two looks, whatever raised the doubt.
const AT_MOST: Duration = Duration::from_millis(50);

pub(crate) struct Cluster {
    endpoint: Arc<Endpoint>,
    common: Arc<Common>,
    topology: Arc<Topology>,
    map: ArcSwap<Map>,
    /// Maps are made from one another, one after the other.
    making: Mutex<()>,
    next: AtomicUsize,
    denied: AtomicBool,
}

struct Map {
    /// For each slot an index into `nodes`, or [`NOBODY`].
    owners: Box<[u16; SLOTS]>,
    nodes: Vec<Arc<Node>>,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(endpoint: Arc<Endpoint>, common: Arc<Common>, topology: Arc<Topology>) -> Cluster {
        let map = Map { owners: Box::new([NOBODY; SLOTS]), nodes: Vec::new() };
        let (next, denied) = (AtomicUsize::new(0), AtomicBool::new(false));
        Cluster { endpoint, common, topology, map: ArcSwap::from_pointee(map), making: Mutex::new(()), next, denied }
    }

    /// The node that owns `slot`, as far as is known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.load();
        map.nodes.get(usize::from(map.owners[usize::from(slot)])).cloned()
    }

    /// Each time another node, the well ones first.
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

    /// Follows a redirection to `address` that `by` gave: notes the slot's new owner if `moved`, and returns that node.
    /// `None` where no node of the cluster is known by that address.
    pub(crate) async fn redirected(
        &self,
        slot: u16,
        address: &str,
        by: &Server,
        moved: bool,
        within: Duration,
    ) -> Option<Arc<Node>> {
        let known = self.topology.known().and_then(|known| known.0.called(address, by).cloned());
        self.topology.doubt();
        let server = match known {
            Some(server) => server,
            None => self.topology.ask_if_in_doubt(&self.endpoint, within).await.ok()?.0.called(address, by)?.clone(),
        };
        Some(self.assign(slot, server, moved))
    }

    /// The node at `server`, which from now on also owns `slot` if it `moved`.
    fn assign(&self, slot: u16, server: Server, moved: bool) -> Arc<Node> {
        let _making = self.making.lock();
        let map = self.map.load();
        let position = map.nodes.iter().position(|node| node.server == server);
        let mut nodes = map.nodes.clone();
        let index = position.unwrap_or_else(|| {
            nodes.push(self.node(server));
            nodes.len() - 1
        });
        let node = nodes[index].clone();
        if moved || position.is_none() {
            let mut owners = map.owners.clone();
            if moved {
                owners[usize::from(slot)] = index as u16;
            }
            self.map.store(Arc::new(Map { owners, nodes }));
        }
        node
    }

    /// Keeps the map true, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let (within, mut misconfigured) = (self.endpoint.connection.connection_timeout, false);
        loop {
            match self.topology.ask_if_in_doubt(&self.endpoint, within).await {
                Ok(known) => self.learn(&known.0),
                Err(error) => self.report(&error, &mut misconfigured),
            }
            self.common.observer.reachable(self.reach().share);
            tokio::time::sleep(AT_MOST).await;
            let pause = if self.reach().is_whole() { WELL } else { UNWELL };
            if tokio::time::timeout(pause, self.topology.doubted()).await.is_err() {
                self.topology.doubt();
            }
        }
    }

    fn learn(&self, slots: &Slots) {
        self.denied.store(false, Ordering::Relaxed);
        let _making = self.making.lock();
        let old = self.map.load();
        let mut map = Map { owners: Box::new([NOBODY; SLOTS]), nodes: Vec::new() };
        for range in &slots.ranges {
            let known = map.nodes.iter().position(|node| node.server == range.owner);
            let index = known.unwrap_or_else(|| {
                let kept = old.nodes.iter().find(|node| node.server == range.owner).cloned();
                map.nodes.push(kept.unwrap_or_else(|| self.node(range.owner.clone())));
                map.nodes.len() - 1
            });
            if let Some(owners) = map.owners.get_mut(usize::from(range.first)..=usize::from(range.last)) {
                owners.fill(index as u16);
            }
        }
        self.map.store(Arc::new(map));
        self.common.changed.send_replace(());
    }

    fn node(&self, server: Server) -> Arc<Node> {
        tracing::debug!(node = %server, "a node of the store's cluster");
        Node::start(&self.endpoint, server, self.common.clone())
    }

    /// Whether the nodes refused user or password when they were asked for their slots last.
    pub(crate) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    fn report(&self, error: &Error, misconfigured: &mut bool) {
        self.denied.store(error.kind() == ErrorKind::Denied, Ordering::Relaxed);
        // A server without cluster mode says so.
        if error.code().is_some() && !std::mem::replace(misconfigured, true) {
            tracing::error!(%error, "the store can't be used as configured, is it a cluster or not as the url says");
        }
    }
}

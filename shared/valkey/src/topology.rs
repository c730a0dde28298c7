//! Owners of a cluster's slots, queried from the nodes themselves.
//!
//! The queries use short connections of their own, to several nodes at once: the node that matters often does not answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fred::types::Value as Fred;
use fred::types::config::Server;
use futures::FutureExt as _;
use futures::future::select_ok;
use tokio::sync::{Mutex, Notify};

use crate::endpoint::Endpoint;
use crate::wire::Wire;
use crate::{Error, ErrorKind, Value};

/// Nodes that are queried at once: a node that silently vanished must not be the only one.
const QUERIED: usize = 3;

/// Owners of slots according to the last answer, until a doubt is raised.
pub(crate) struct Topology {
    /// Last answer, with the number of doubts at the query.
    known: ArcSwapOption<(Slots, u64)>,
    /// Lock of the caller who queries; the others wait for the same answer.
    asking: Mutex<()>,
    /// Number of doubts; an answer older than the last doubt is queried anew.
    doubts: AtomicU64,
    doubted: Notify,
    /// Position of the next nodes to query.
    turn: AtomicUsize,
}

/// Owners of slots, according to one node.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) ranges: Vec<Range>,
    /// Nodes, replicas included.
    nodes: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) owner: Server,
}

/// Node: the address that connections use, and the host that redirections name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    server: Server,
    called: String,
}

// === impl Topology ===

impl Topology {
    pub(crate) fn new() -> Topology {
        Topology {
            known: ArcSwapOption::empty(),
            asking: Mutex::new(()),
            doubts: AtomicU64::new(0),
            doubted: Notify::new(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Raises a doubt and wakes the keeper: a node said that its slots moved, or does not answer.
    pub(crate) fn doubt(&self) {
        self.outdate();
        self.doubted.notify_one();
    }

    /// Raises a doubt without waking the keeper: the next caller queries anew.
    pub(crate) fn outdate(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for the next doubt.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Node that owns `slot`. Queries for at most `within` if that is unknown or in doubt. Cancel safe.
    pub(crate) async fn owner(&self, endpoint: &Endpoint, slot: u16, within: Duration) -> Result<Server, Error> {
        let slots = self.ask_if_in_doubt(endpoint, within).await?;
        let owner = slots.0.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        owner.map(|range| range.owner.clone()).ok_or_else(|| {
            self.doubt();
            Error::no_owner("dedicate")
        })
    }

    /// Owners of slots, and the number of doubts at the query. Queries for at most `within` if they are unknown or in doubt;
    /// concurrent callers share one answer. Cancel safe.
    pub(crate) async fn ask_if_in_doubt(
        &self,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<Arc<(Slots, u64)>, Error> {
        if let Some(known) = self.sure() {
            return Ok(known);
        }
        // The wait for other callers counts too: without an answer, each of them takes its whole time.
        tokio::time::timeout(within, self.ask_in_turn(endpoint, within)).await.unwrap_or_else(|_| {
            let message = "no node of the store's cluster said in time which node serves which key";
            Err(Error::new(ErrorKind::Unavailable, "CLUSTER SLOTS", message))
        })
    }

    async fn ask_in_turn(&self, endpoint: &Endpoint, within: Duration) -> Result<Arc<(Slots, u64)>, Error> {
        let _asking = self.asking.lock().await;
        if let Some(known) = self.sure() {
            return Ok(known);
        }
        let doubts = self.doubts.load(Ordering::Acquire);
        let known = self.known();
        let nodes = known.as_ref().map_or(&[][..], |known| &known.0.nodes);
        let slots = Arc::new((self.ask(endpoint, nodes, within).await?, doubts));
        self.known.store(Some(slots.clone()));
        Ok(slots)
    }

    /// Last answer, unless doubted since.
    fn sure(&self) -> Option<Arc<(Slots, u64)>> {
        self.known().filter(|known| known.1 == self.doubts.load(Ordering::Acquire))
    }

    /// Last answer, in doubt or not.
    pub(crate) fn known(&self) -> Option<Arc<(Slots, u64)>> {
        self.known.load_full()
    }

    async fn ask(&self, endpoint: &Endpoint, known: &[Node], within: Duration) -> Result<Slots, Error> {
        let mut nodes = endpoint.config.server.hosts();
        for node in known {
            if !nodes.contains(&node.server) {
                nodes.push(node.server.clone());
            }
        }
        let first = self.turn.fetch_add(QUERIED, Ordering::Relaxed) % nodes.len().max(1);
        nodes.rotate_left(first);
        let questions = nodes.into_iter().take(QUERIED).map(|node| slots(endpoint, node, within).boxed());
        let (answer, _) = select_ok(questions).await?;
        Ok(answer)
    }
}

impl Slots {
    /// Node that a redirection calls `<host>:<port>`; an empty host is that of the node which redirects.
    pub(crate) fn called(&self, address: &str, by: &Server) -> Option<&Server> {
        let (host, port) = address.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let by = self.nodes.iter().find(|node| node.server == *by);
        let host = if host.is_empty() { by?.called.as_str() } else { host };
        let named = |node: &&Node| node.server.port == port && (node.called == host || *node.server.host == *host);
        self.nodes.iter().find(named).map(|node| &node.server)
    }
}

async fn slots(endpoint: &Endpoint, node: Server, within: Duration) -> Result<Slots, Error> {
    let host = node.host.to_string();
    let wire = Wire::connect(endpoint, node, within).await?;
    let reply = wire.call("CLUSTER", vec![Fred::from_static_str("SLOTS")], within).await;
    let reply = reply.map_err(|failure| Error::from_failure(&failure, "CLUSTER SLOTS", false))?;
    let slots = parse(reply, &host)
        .ok_or_else(|| Error::new(ErrorKind::Decode, "CLUSTER SLOTS", "the reply lacks the expected form"))?;
    if slots.ranges.is_empty() {
        // A new node, or one that was reset, is in no cluster: the others know more.
        let message = "the node knows of no node that serves any key";
        return Err(Error::new(ErrorKind::Unavailable, "CLUSTER SLOTS", message));
    }
    Ok(slots)
}

// === the reply: [[first, last, [host, port, id, [metadata]], replica, ...], ...] ===

fn parse(reply: Value, queried: &str) -> Option<Slots> {
    let (mut ranges, mut nodes) = (Vec::new(), Vec::new());
    for range in reply.array().ok()? {
        let mut parts = range.array().ok()?.into_iter();
        let first = u16::try_from(parts.next()?.int().ok()?).ok()?;
        let last = u16::try_from(parts.next()?.int().ok()?).ok()?;
        let servers = parts.map(|node| server(node, queried)).collect::<Option<Vec<Node>>>()?;
        ranges.push(Range { first, last, owner: servers.first()?.server.clone() });
        nodes.extend(servers);
    }
    nodes.sort_unstable();
    nodes.dedup();
    Some(Slots { ranges, nodes })
}

/// Prefers a hostname to an address, since certificates have hostnames. A node without either is the one that was queried.
fn server(node: Value, queried: &str) -> Option<Node> {
    let mut parts = node.array().ok()?.into_iter();
    let host = text(&parts.next()?).filter(|host| host != "?");
    let port = u16::try_from(parts.next()?.int().ok()?).ok()?;
    let hostname = parts.nth(1).and_then(hostname);
    let called = host.clone().unwrap_or_else(|| queried.to_owned());
    let host = match host {
        Some(host) if host.parse::<IpAddr>().is_ok() => hostname.unwrap_or(host),
        Some(host) => host,
        None => hostname.unwrap_or_else(|| queried.to_owned()),
    };
    Some(Node { server: Server::new(host, port), called })
}

fn hostname(metadata: Value) -> Option<String> {
    let metadata = metadata.array().ok()?;
    let value = metadata.chunks_exact(2).find(|pair| pair[0].text() == Ok("hostname"));
    value.and_then(|pair| text(&pair[1]))
}

fn text(value: &Value) -> Option<String> {
    value.text().ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::time::Instant;

    use super::*;
    use crate::Settings;

    fn text(text: &'static str) -> Value {
        Value::Bytes(text.into())
    }

    fn node(host: Value, port: i64, metadata: Vec<Value>) -> Value {
        Value::Array(vec![host, Value::Int(port), text("an-id"), Value::Array(metadata)])
    }

    #[tokio::test]
    async fn concurrent_callers_wait_no_longer_than_their_limit() {
        // Takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("valkey-cluster://{}", silent.local_addr().expect("an address"));
        let endpoint = Endpoint::new(&Settings::new(url)).expect("a good URL");
        let (topology, within, start) = (Topology::new(), Duration::from_millis(200), Instant::now());
        let callers = (0..20).map(|_| topology.ask_if_in_doubt(&endpoint, within));
        let answers = futures::future::join_all(callers).await;
        assert!(answers.iter().all(Result::is_err));
        assert!(start.elapsed() < within * 10, "20 callers who give it {within:?} took {:?}", start.elapsed());
    }

    #[test]
    fn owners_and_replicas_are_parsed_in_all_forms() {
        let reply = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(8191),
                node(text("10.0.0.1"), 7001, vec![text("hostname"), text("one.example")]),
                node(text("10.0.0.2"), 7002, vec![]),
            ]),
            Value::Array(vec![Value::Int(8192), Value::Int(16383), node(Value::Nil, 7003, vec![])]),
        ]);
        let slots = parse(reply, "asked.example").expect("it has the form");
        let owners: Vec<_> =
            slots.ranges.iter().map(|range| (range.first, range.last, range.owner.to_string())).collect();
        let expected = [(0, 8191, "one.example:7001"), (8192, 16383, "asked.example:7003")];
        assert_eq!(owners, expected.map(|(first, last, owner)| (first, last, owner.to_owned())));
        assert_eq!(slots.nodes.len(), 3, "{slots:?}");
        let by = Server::new("asked.example", 7003);
        for (address, server) in [
            ("10.0.0.1:7001", Some("one.example:7001")),
            ("one.example:7001", Some("one.example:7001")),
            (":7003", Some("asked.example:7003")),
            ("10.0.0.1:7002", None),
            ("nonsense", None),
        ] {
            let found = slots.called(address, &by).map(ToString::to_string);
            assert_eq!(found.as_deref(), server, "{address}");
        }
        assert!(parse(text("OK"), "h").is_none());
        assert!(
            parse(Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]), "h").is_none(),
            "nobody owns them"
        );
    }
}

//! Which node of a cluster owns a slot, asked of the nodes themselves.
//!
//! The question goes over short connections of its own, to several nodes at once: the one that has the answer of interest
//! is often the one that does not answer.

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

use crate::url::Endpoint;
use crate::wire::Wire;
use crate::{Error, ErrorKind};

/// How many nodes are asked at once: one that is gone without a word must not be the only one.
const ASKED: usize = 3;

/// The slots as some node told them, until somebody finds that they are not so.
pub(crate) struct Topology {
    /// The last answer, with the number of doubts when it was asked for.
    known: ArcSwapOption<(Slots, u64)>,
    /// Held by the caller who asks; the others wait for the same answer.
    asking: Mutex<()>,
    /// Counts the doubts; an answer that is older than the last one is asked for anew.
    doubts: AtomicU64,
    doubted: Notify,
    /// Which nodes are next to be asked.
    turn: AtomicUsize,
}

/// Owners of slots, as one node named them.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) ranges: Vec<Range>,
    /// All nodes, replicas included.
    nodes: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) owner: Server,
}

/// A node, by the name that connections are made to, and by the one that redirections use.
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

    /// What is known may be wrong: a node said so, or is gone.
    pub(crate) fn doubt(&self) {
        self.outdate();
        self.doubted.notify_one();
    }

    /// Has whoever needs it next ask anew, and wakes nobody.
    pub(crate) fn outdate(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until there is a doubt that nobody has waited for yet.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// The node that owns `slot`. Asks for at most `within` where that is unknown or in doubt. Cancel safe.
    pub(crate) async fn owner(&self, endpoint: &Endpoint, slot: u16, within: Duration) -> Result<Server, Error> {
        let slots = self.ask_if_in_doubt(endpoint, within).await?;
        let owner = slots.0.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        owner.map(|range| range.owner.clone()).ok_or_else(|| {
            self.doubt();
            Error::new(ErrorKind::Unavailable, "dedicate", "no node of the store's cluster serves this key now")
        })
    }

    /// Owners of slots, and the number of doubts when they were asked for. Asks for at most `within` where they are unknown or
    /// in doubt; callers that come meanwhile wait for the same answer. Cancel safe.
    pub(crate) async fn ask_if_in_doubt(
        &self,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<Arc<(Slots, u64)>, Error> {
        if let Some(known) = self.sure() {
            return Ok(known);
        }
        // Also the wait for others who ask counts: where nobody answers, each of them takes all of its time.
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

    /// The last answer, if nobody has doubted it since.
    fn sure(&self) -> Option<Arc<(Slots, u64)>> {
        self.known().filter(|known| known.1 == self.doubts.load(Ordering::Acquire))
    }

    /// The last answer, in doubt or not.
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
        let first = self.turn.fetch_add(ASKED, Ordering::Relaxed) % nodes.len().max(1);
        nodes.rotate_left(first);
        let questions = nodes.into_iter().take(ASKED).map(|node| slots(endpoint, node, within).boxed());
        let (answer, _) = select_ok(questions).await?;
        Ok(answer)
    }
}

impl Slots {
    /// The node that a redirection calls `<host>:<port>`; no host means that of the node which says so.
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
    let reply = reply.map_err(|error| Error::from_fred(&error, "CLUSTER SLOTS", false))?;
    let slots = parse(reply, &host)
        .ok_or_else(|| Error::new(ErrorKind::Decode, "CLUSTER SLOTS", "the reply has not the expected form"))?;
    if slots.ranges.is_empty() {
        // It is new, or was reset, and is in no cluster: the others know more.
        let message = "the node knows of no node that serves any key";
        return Err(Error::new(ErrorKind::Unavailable, "CLUSTER SLOTS", message));
    }
    Ok(slots)
}

// === the reply: [[first, last, [host, port, id, [metadata]], replica, ...], ...] ===

fn parse(reply: Fred, asked: &str) -> Option<Slots> {
    let (mut ranges, mut nodes) = (Vec::new(), Vec::new());
    for range in list(reply)? {
        let mut parts = list(range)?.into_iter();
        let first = u16::try_from(parts.next()?.as_i64()?).ok()?;
        let last = u16::try_from(parts.next()?.as_i64()?).ok()?;
        let servers = parts.map(|node| server(node, asked)).collect::<Option<Vec<Node>>>()?;
        ranges.push(Range { first, last, owner: servers.first()?.server.clone() });
        nodes.extend(servers);
    }
    nodes.sort_unstable();
    nodes.dedup();
    Some(Slots { ranges, nodes })
}

/// A hostname is preferred to an address, since certificates have hostnames; none at all means the node that was asked.
fn server(node: Fred, asked: &str) -> Option<Node> {
    let mut parts = list(node)?.into_iter();
    let host = parts.next()?.as_string().filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(parts.next()?.as_i64()?).ok()?;
    let hostname = parts.nth(1).and_then(hostname);
    let called = host.clone().unwrap_or_else(|| asked.to_owned());
    let host = match host {
        Some(host) if host.parse::<IpAddr>().is_ok() => hostname.unwrap_or(host),
        Some(host) => host,
        None => hostname.unwrap_or_else(|| asked.to_owned()),
    };
    Some(Node { server: Server::new(host, port), called })
}

fn hostname(metadata: Fred) -> Option<String> {
    let mut metadata = list(metadata)?.into_iter();
    while let (Some(name), Some(value)) = (metadata.next(), metadata.next()) {
        if name.as_str().as_deref() == Some("hostname") {
            return value.as_string().filter(|host| !host.is_empty());
        }
    }
    None
}

fn list(value: Fred) -> Option<Vec<Fred>> {
    value.is_array().then(|| value.into_array())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::time::Instant;

    use super::*;
    use crate::Settings;

    fn text(text: &'static str) -> Fred {
        Fred::from_static_str(text)
    }

    fn node(host: Fred, port: i64, metadata: Vec<Fred>) -> Fred {
        Fred::Array(vec![host, port.into(), text("an-id"), Fred::Array(metadata)])
    }

    #[tokio::test]
    async fn callers_wait_for_one_another_no_longer_than_they_said() {
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
    fn owners_and_replicas_are_read_in_all_forms() {
        let reply = Fred::Array(vec![
            Fred::Array(vec![
                0.into(),
                8191.into(),
                node(text("10.0.0.1"), 7001, vec![text("hostname"), text("one.example")]),
                node(text("10.0.0.2"), 7002, vec![]),
            ]),
            Fred::Array(vec![8192.into(), 16383.into(), node(Fred::Null, 7003, vec![])]),
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
        assert!(parse(Fred::Array(vec![Fred::Array(vec![0.into(), 1.into()])]), "h").is_none(), "nobody owns them");
    }
}

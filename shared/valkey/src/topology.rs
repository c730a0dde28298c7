//! Which node of a cluster owns a slot, asked of the nodes themselves.
//!
//! The pool's own view comes with its connections, which take their time to be restored when a node dies. Whoever needs
//! one connection to one node can't wait for that, so the question goes over a short connection of its own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fred::types::Value as Fred;
use fred::types::config::Server;
use futures::FutureExt as _;
use futures::future::select_ok;
use tokio::sync::Mutex;

use crate::url::Endpoint;
use crate::wire::Wire;
use crate::{Error, ErrorKind};

/// How many nodes are asked at once: one that is gone without a word must not be the only one.
const ASKED: usize = 3;

/// The slots as some node told them, until somebody finds that they are not so.
pub(crate) struct Topology {
    known: Mutex<Known>,
    /// Counts the doubts; an answer that is older than the last one is asked for anew.
    doubts: AtomicU64,
    /// Which nodes are next to be asked.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Known {
    ranges: Vec<Range>,
    /// All nodes, replicas included.
    nodes: Vec<Server>,
    /// The doubts there were when it was asked for; `None` before that.
    doubts: Option<u64>,
}

struct Range {
    first: u16,
    last: u16,
    owner: Server,
}

// === impl Topology ===

impl Topology {
    pub(crate) fn new() -> Topology {
        Topology { known: Mutex::default(), doubts: AtomicU64::new(0), turn: AtomicUsize::new(0) }
    }

    /// What is known may be wrong: a node said so, or is gone.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// The node that owns `slot`. Asks for at most `within` where that is unknown or in doubt; callers that come
    /// meanwhile wait for the same answer. Cancel safe.
    pub(crate) async fn owner(&self, endpoint: &Endpoint, slot: u16, within: Duration) -> Result<Server, Error> {
        let mut known = self.known.lock().await;
        let doubts = self.doubts.load(Ordering::Acquire);
        if known.doubts != Some(doubts) {
            let (ranges, nodes) = self.ask(endpoint, &known.nodes, within).await?;
            *known = Known { ranges, nodes, doubts: Some(doubts) };
        }
        let owner = known.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        owner.map(|range| range.owner.clone()).ok_or_else(|| {
            self.doubt();
            Error::new(ErrorKind::Unavailable, "dedicate", "no node of the store's cluster serves this key now")
        })
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        known: &[Server],
        within: Duration,
    ) -> Result<(Vec<Range>, Vec<Server>), Error> {
        let mut nodes = endpoint.config.server.hosts();
        for node in known {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        let first = self.turn.fetch_add(ASKED, Ordering::Relaxed) % nodes.len().max(1);
        nodes.rotate_left(first);
        let questions = nodes.into_iter().take(ASKED).map(|node| slots(endpoint, node, within).boxed());
        let (answer, _) = select_ok(questions).await?;
        Ok(answer)
    }
}

async fn slots(endpoint: &Endpoint, node: Server, within: Duration) -> Result<(Vec<Range>, Vec<Server>), Error> {
    let host = node.host.to_string();
    let wire = Wire::connect(endpoint, node, within).await?;
    let reply = wire.call("CLUSTER", vec![Fred::from_static_str("SLOTS")], within).await;
    let reply = reply.map_err(|error| Error::from_fred(&error, "CLUSTER SLOTS", false))?;
    parse(reply, &host)
        .ok_or_else(|| Error::new(ErrorKind::Decode, "CLUSTER SLOTS", "the reply has not the expected form"))
}

// === the reply: [[first, last, [host, port, id, [metadata]], replica, ...], ...] ===

fn parse(reply: Fred, asked: &str) -> Option<(Vec<Range>, Vec<Server>)> {
    let (mut ranges, mut nodes) = (Vec::new(), Vec::new());
    for range in list(reply)? {
        let mut parts = list(range)?.into_iter();
        let first = u16::try_from(parts.next()?.as_i64()?).ok()?;
        let last = u16::try_from(parts.next()?.as_i64()?).ok()?;
        let servers = parts.map(|node| server(node, asked)).collect::<Option<Vec<Server>>>()?;
        ranges.push(Range { first, last, owner: servers.first()?.clone() });
        nodes.extend(servers);
    }
    nodes.sort_unstable();
    nodes.dedup();
    Some((ranges, nodes))
}

/// A hostname is preferred to an address, since certificates have hostnames; none at all means the node that was asked.
fn server(node: Fred, asked: &str) -> Option<Server> {
    let mut parts = list(node)?.into_iter();
    let host = parts.next()?.as_string().filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(parts.next()?.as_i64()?).ok()?;
    let hostname = parts.nth(1).and_then(hostname);
    let host = match host {
        Some(host) if host.parse::<IpAddr>().is_ok() => hostname.unwrap_or(host),
        Some(host) => host,
        None => hostname.unwrap_or_else(|| asked.to_owned()),
    };
    Some(Server::new(host, port))
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
    use super::*;

    fn text(text: &'static str) -> Fred {
        Fred::from_static_str(text)
    }

    fn node(host: Fred, port: i64, metadata: Vec<Fred>) -> Fred {
        Fred::Array(vec![host, port.into(), text("an-id"), Fred::Array(metadata)])
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
        let (ranges, nodes) = parse(reply, "asked.example").expect("it has the form");
        let owners: Vec<_> = ranges.iter().map(|range| (range.first, range.last, range.owner.to_string())).collect();
        let expected = [(0, 8191, "one.example:7001"), (8192, 16383, "asked.example:7003")];
        assert_eq!(owners, expected.map(|(first, last, owner)| (first, last, owner.to_owned())));
        assert_eq!(nodes.len(), 3, "{nodes:?}");
        assert!(parse(text("OK"), "h").is_none());
        assert!(parse(Fred::Array(vec![Fred::Array(vec![0.into(), 1.into()])]), "h").is_none(), "nobody owns them");
    }
}

//! Valkey cluster.

use std::time::Duration;

use crate::Error;
use crate::resp::Reply;
use crate::toolbox::Toolbox;
use crate::valkey::{Valkey, new_password};

/// Hash slots of every cluster.
const SLOTS: usize = 16_384;

/// Default for the longest silence of a node before the others replace it.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Cluster of servers on loopback ports. Dropping it stops all of them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Valkey>,
    primaries: usize,
}

/// Builder of a [`Cluster`].
#[derive(Debug)]
pub struct ClusterBuilder<'a> {
    toolbox: &'a Toolbox,
    primaries: usize,
    replicas: usize,
    acl_serverless: bool,
    may_wait: bool,
    node_timeout: Duration,
}

// === impl Cluster ===

impl Cluster {
    /// Configures a cluster. Default: three primaries without replicas.
    #[must_use]
    pub fn builder(toolbox: &Toolbox) -> ClusterBuilder<'_> {
        ClusterBuilder {
            toolbox,
            primaries: 3,
            replicas: 0,
            acl_serverless: true,
            may_wait: false,
            node_timeout: NODE_TIMEOUT,
        }
    }

    /// Starts `primaries` servers without replicas, and blocks until each sees a whole cluster.
    ///
    /// # Errors
    /// A server doesn't start, or the nodes don't agree within a minute.
    pub fn start(toolbox: &Toolbox, primaries: usize) -> Result<Cluster, Error> {
        Cluster::builder(toolbox).primaries(primaries).start()
    }

    /// `valkey-cluster://keyplane:<password>@127.0.0.1:<port>?node=127.0.0.1:<port>...`, with every primary. It has
    /// the user of [`Valkey::url`], with one password on all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(&self.nodes[0].credentials())
    }

    /// URL like [`Cluster::url`] for the default user, with all rights.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url_as("")
    }

    /// Node `index`: the primaries first, then the replicas of primary 0, of primary 1, and so on.
    ///
    /// # Panics
    /// No node has this index.
    #[must_use]
    pub fn node(&self, index: usize) -> &Valkey {
        &self.nodes[index]
    }

    /// Nodes, in the order of [`Cluster::node`].
    #[must_use]
    pub fn nodes(&self) -> &[Valkey] {
        &self.nodes
    }

    /// Number of primaries at the start.
    #[must_use]
    pub fn primaries(&self) -> usize {
        self.primaries
    }

    /// Hash slot of `key`.
    ///
    /// # Errors
    /// No node answers.
    pub fn slot(&self, key: &str) -> Result<u16, Error> {
        let slot = self.answering().command(&["CLUSTER", "KEYSLOT", key])?;
        Ok(slot.int().and_then(|slot| u16::try_from(slot).ok()).unwrap_or_default())
    }

    /// Index of the node that claims to be the primary of the slot of `key`; `None` while no node does. The later election
    /// decides between two claims (one was paused and another took over). Stopped, killed or paused nodes are not queried.
    ///
    /// # Errors
    /// No node answers.
    pub fn primary_of(&self, key: &str) -> Result<Option<usize>, Error> {
        let slot = self.slot(key)?;
        let running = self.nodes.iter().enumerate().filter(|(_, node)| node.answers());
        let epochs = running.filter_map(|(index, node)| Some((own_epoch(node, slot)?, index)));
        Ok(epochs.max().map(|(_, index)| index))
    }

    /// Blocks until a node other than `old` is the primary of the slot of `key`, and each answering node knows it. Returns
    /// its index. Takes some two node timeouts after a kill or a pause.
    ///
    /// # Errors
    /// No node takes over within a minute: is there a replica, and do more than half of the primaries run?
    pub fn wait_takeover(&self, key: &str, old: usize) -> Result<usize, Error> {
        let slot = self.slot(key)?;
        let taken = || Ok::<_, Error>(self.primary_of(key)?.filter(|index| *index != old));
        self.answering().wait("see another node take over", &|_| {
            let Some(new) = taken()? else { return Ok(false) };
            let port = self.nodes[new].port();
            Ok(self.nodes.iter().filter(|node| node.answers()).all(|node| owner_port(node, slot) == Some(port)))
        })?;
        Ok(taken()?.unwrap_or(old))
    }

    /// First node that answers.
    fn answering(&self) -> &Valkey {
        self.nodes.iter().find(|node| node.answers()).unwrap_or(&self.nodes[0])
    }

    fn url_as(&self, credentials: &str) -> String {
        let others = self.nodes[1..self.primaries].iter().map(|node| format!("node=127.0.0.1:{}", node.port()));
        let query = others.collect::<Vec<_>>().join("&");
        let separator = if query.is_empty() { "" } else { "?" };
        format!("valkey-cluster://{credentials}127.0.0.1:{}{separator}{query}", self.nodes[0].port())
    }

    fn form(&self, replicas: usize) -> Result<(), Error> {
        for (index, node) in self.nodes[..self.primaries].iter().enumerate() {
            let first = SLOTS * index / self.primaries;
            let last = SLOTS * (index + 1) / self.primaries - 1;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
        }
        for node in &self.nodes[1..] {
            let bus = node.command(&["CONFIG", "GET", "cluster-port"])?;
            let bus = match &bus {
                Reply::Array(items) => items.last().and_then(Reply::text).unwrap_or_default(),
                Reply::Nil | Reply::Int(_) | Reply::Text(_) | Reply::Error(_) => "",
            };
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus])?;
        }
        self.agree("know all nodes", |node| Ok(seen(node, |line| !line.contains("handshake"))? == self.nodes.len()))?;
        for (index, replica) in self.nodes[self.primaries..].iter().enumerate() {
            let id = self.nodes[index / replicas].command(&["CLUSTER", "MYID"])?;
            replica.command(&["CLUSTER", "REPLICATE", id.text().unwrap_or_default()])?;
        }
        self.agree("see a whole cluster", |node| {
            let info = node.command(&["CLUSTER", "INFO"])?;
            let whole = info.text().is_some_and(|text| text.contains("cluster_state:ok"));
            Ok(whole && seen(node, |line| line.contains("slave"))? == self.nodes.len() - self.primaries)
        })?;
        self.nodes[self.primaries..].iter().try_for_each(Valkey::wait_in_sync)
    }

    fn agree(&self, goal: &str, test: impl Fn(&Valkey) -> Result<bool, Error>) -> Result<(), Error> {
        self.nodes.iter().try_for_each(|node| node.wait(goal, &test))
    }
}

// === impl ClusterBuilder ===

impl ClusterBuilder<'_> {
    /// Sets the number of primaries, at least one. Default: 3.
    #[must_use]
    pub fn primaries(mut self, primaries: usize) -> Self {
        self.primaries = primaries.max(1);
        self
    }

    /// Sets the number of replicas of each primary. Default: none.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets [`crate::ValkeyBuilder::acl_serverless`]. Default: yes.
    #[must_use]
    pub fn acl_serverless(mut self, acl_serverless: bool) -> Self {
        self.acl_serverless = acl_serverless;
        self
    }

    /// Sets [`crate::ValkeyBuilder::may_wait`]. Default: no.
    #[must_use]
    pub fn may_wait(mut self, may_wait: bool) -> Self {
        self.may_wait = may_wait;
        self
    }

    /// Sets the silence of a node after which its replica takes over; at least 200 ms. One second makes failovers quick; much
    /// less makes nodes of a busy machine fail over by themselves. Default: 5 s.
    #[must_use]
    pub fn node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = node_timeout.max(Duration::from_millis(200));
        self
    }

    /// Starts the servers, and blocks until each sees a whole cluster.
    ///
    /// # Errors
    /// A server doesn't start, or the nodes don't agree within a minute.
    pub fn start(self) -> Result<Cluster, Error> {
        let password = new_password()?;
        let node = |_| {
            let builder = Valkey::builder(self.toolbox).acl_serverless(self.acl_serverless).may_wait(self.may_wait);
            builder.cluster(Some(password.clone()), self.node_timeout).start()
        };
        let count = self.primaries * (1 + self.replicas);
        let nodes = (0..count).map(node).collect::<Result<Vec<_>, Error>>()?;
        let cluster = Cluster { nodes, primaries: self.primaries };
        cluster.form(self.replicas)?;
        Ok(cluster)
    }
}

// === what a node sees ===

/// Number of nodes whose line passes `test`.
fn seen(node: &Valkey, test: impl Fn(&str) -> bool) -> Result<usize, Error> {
    let nodes = node.command(&["CLUSTER", "NODES"])?;
    Ok(nodes.text().unwrap_or_default().lines().filter(|line| test(line)).count())
}

/// Epoch of the node's own configuration, if it claims to be the primary of `slot`.
fn own_epoch(node: &Valkey, slot: u16) -> Option<u64> {
    let nodes = node.command(&["CLUSTER", "NODES"]).ok()?;
    let own = nodes.text()?.lines().find(|line| line.contains("myself"))?;
    let fields: Vec<&str> = own.split(' ').collect();
    let mine = fields.get(8..)?.iter().any(|range| holds(range, slot));
    if mine { fields.get(6)?.parse().ok() } else { None }
}

/// Port of the owner of `slot`, according to `node`.
fn owner_port(node: &Valkey, slot: u16) -> Option<u16> {
    let nodes = node.command(&["CLUSTER", "NODES"]).ok()?;
    let owner = nodes.text()?.lines().find(|line| line.split(' ').skip(8).any(|range| holds(range, slot)))?;
    let address = owner.split(' ').nth(1)?.split('@').next()?;
    address.rsplit(':').next()?.parse().ok()
}

/// Reports whether `17`, `17-99` or the like holds the slot; a moving slot (`[17->-...]`) counts by its plain entry.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let inside = |first: u16, last: u16| (first..=last).contains(&slot);
    first.parse().ok().zip(last.parse().ok()).is_some_and(|(first, last)| inside(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_slots_are_parsed() {
        assert!(holds("17", 17) && holds("0-17", 17) && holds("17-99", 17));
        assert!(!holds("18", 17) && !holds("18-99", 17) && !holds("[17->-abc]", 17) && !holds("", 17));
    }
}

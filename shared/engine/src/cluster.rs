//! A Valkey cluster.

use std::time::{Duration, Instant};

use crate::Error;
use crate::resp::Reply;
use crate::toolbox::Toolbox;
use crate::valkey::{Valkey, new_password};

/// The number of hash slots of every cluster.
const SLOTS: usize = 16_384;

/// How long the nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of servers on loopback ports. Dropping it stops them all.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Valkey>,
    primaries: usize,
}

/// How to start a [`Cluster`].
#[derive(Debug)]
pub struct ClusterBuilder<'a> {
    toolbox: &'a Toolbox,
    primaries: usize,
    replicas: usize,
    acl_serverless: bool,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster of three primaries without replicas, unless told otherwise.
    #[must_use]
    pub fn builder(toolbox: &Toolbox) -> ClusterBuilder<'_> {
        ClusterBuilder { toolbox, primaries: 3, replicas: 0, acl_serverless: true }
    }

    /// Starts `primaries` servers without replicas, and blocks until each sees a whole cluster.
    ///
    /// # Errors
    /// When a server doesn't start, or the nodes don't agree within a minute.
    pub fn start(toolbox: &Toolbox, primaries: usize) -> Result<Cluster, Error> {
        Cluster::builder(toolbox).primaries(primaries).start()
    }

    /// `valkey-cluster://keyplane:<password>@127.0.0.1:<port>?node=127.0.0.1:<port>...`, with every primary; the user is
    /// that of [`Valkey::url`], with one password on all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(&self.nodes[0].credentials())
    }

    /// The same for the default user, who may do everything.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url_as("")
    }

    /// Node `index`: the primaries first, then the replicas of primary 0, of primary 1, and so on.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Valkey {
        &self.nodes[index]
    }

    /// All nodes, in the order of [`Cluster::node`].
    #[must_use]
    pub fn nodes(&self) -> &[Valkey] {
        &self.nodes
    }

    /// The number of primaries that the cluster was started with.
    #[must_use]
    pub fn primaries(&self) -> usize {
        self.primaries
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
        self.agree("know all nodes", |node| Ok(node_count(node)? == self.nodes.len()))?;
        for (index, replica) in self.nodes[self.primaries..].iter().enumerate() {
            let id = self.nodes[index / replicas].command(&["CLUSTER", "MYID"])?;
            replica.command(&["CLUSTER", "REPLICATE", id.text().unwrap_or_default()])?;
        }
        self.agree("see a whole cluster", |node| {
            let info = node.command(&["CLUSTER", "INFO"])?;
            let whole = info.text().is_some_and(|text| text.contains("cluster_state:ok"));
            Ok(whole && replicas_seen(node)? == self.nodes.len() - self.primaries)
        })?;
        let mut replicas = self.nodes[self.primaries..].iter();
        replicas.try_for_each(|replica| {
            wait("be in sync with its primary", replica, &|replica| {
                let info = replica.command(&["INFO", "replication"])?;
                Ok(info.text().is_some_and(|text| text.contains("master_link_status:up")))
            })
        })
    }

    fn agree(&self, what: &str, test: impl Fn(&Valkey) -> Result<bool, Error>) -> Result<(), Error> {
        self.nodes.iter().try_for_each(|node| wait(what, node, &test))
    }
}

// === impl ClusterBuilder ===

impl ClusterBuilder<'_> {
    /// The number of primaries, at least one. Default: 3.
    #[must_use]
    pub fn primaries(mut self, primaries: usize) -> Self {
        self.primaries = primaries.max(1);
        self
    }

    /// The number of replicas of each primary. Default: none.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// As [`crate::ValkeyBuilder::acl_serverless`]. Default: yes.
    #[must_use]
    pub fn acl_serverless(mut self, acl_serverless: bool) -> Self {
        self.acl_serverless = acl_serverless;
        self
    }

    /// Starts the servers, and blocks until each sees a whole cluster.
    ///
    /// # Errors
    /// When a server doesn't start, or the nodes don't agree within a minute.
    pub fn start(self) -> Result<Cluster, Error> {
        let password = new_password()?;
        let node = |_| {
            let builder = Valkey::builder(self.toolbox).acl_serverless(self.acl_serverless);
            builder.cluster(Some(password.clone())).start()
        };
        let count = self.primaries * (1 + self.replicas);
        let nodes = (0..count).map(node).collect::<Result<Vec<_>, Error>>()?;
        let cluster = Cluster { nodes, primaries: self.primaries };
        cluster.form(self.replicas)?;
        Ok(cluster)
    }
}

// === what a node sees ===

fn node_count(node: &Valkey) -> Result<usize, Error> {
    let nodes = node.command(&["CLUSTER", "NODES"])?;
    let lines = nodes.text().unwrap_or_default().lines();
    Ok(lines.filter(|line| !line.contains("handshake")).count())
}

fn replicas_seen(node: &Valkey) -> Result<usize, Error> {
    let nodes = node.command(&["CLUSTER", "NODES"])?;
    Ok(nodes.text().unwrap_or_default().lines().filter(|line| line.contains("slave")).count())
}

fn wait(what: &str, node: &Valkey, test: &impl Fn(&Valkey) -> Result<bool, Error>) -> Result<(), Error> {
    let start = Instant::now();
    while !test(node)? {
        if !node.runs_on_for(Duration::from_millis(20)) || start.elapsed() > PATIENCE {
            let detail = format!("the node did not {what} within {PATIENCE:?}");
            return Err(Error::Start { program: "cluster".to_owned(), detail, log: node.log() });
        }
    }
    Ok(())
}

//! Ground of the services: a store that can fail, and connections that can.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyplane_engine::{Cluster, Reply, Toolbox, Valkey};
use keyplane_testkit::FaultProxy;
use tempfile::TempDir;

use super::plan::Ground;
use crate::{Error, rig};

/// Store.
pub(super) enum Store {
    Single(Box<Pair>),
    Cluster(Cluster),
}

/// Primary and its replica, and a way to the primary for each instance. What a server acknowledged is in the kernel's hands, so that a
/// server that is killed has it again.
pub(super) struct Pair {
    nodes: [Valkey; 2],
    folders: [TempDir; 2],
    primary: AtomicUsize,
    pub(super) proxies: Vec<FaultProxy>,
}

/// Longest time until a replica is in sync with its primary.
const SYNC: Duration = Duration::from_secs(30);

// === impl Store ===

impl Store {
    /// Blocks until it is up. `instances` is how many ways to it there are.
    pub(super) fn start(ground: Ground, instances: usize) -> Result<Store, Error> {
        match ground {
            Ground::Single => Ok(Store::Single(Box::new(Pair::start(instances)?))),
            Ground::Cluster => Ok(Store::Cluster(rig::cluster()?)),
        }
    }

    /// Way of each instance.
    pub(super) fn urls(&self, instances: usize) -> Vec<String> {
        match self {
            Store::Single(pair) => {
                let url = pair.nodes[0].url();
                pair.proxies.iter().map(|proxy| proxy.url(&url)).collect()
            }
            Store::Cluster(cluster) => vec![cluster.url(); instances],
        }
    }

    pub(super) fn nodes(&self) -> &[Valkey] {
        match self {
            Store::Single(pair) => &pair.nodes,
            Store::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Connections of the services, on all nodes.
    pub(super) fn connections(&self) -> Result<usize, Error> {
        let count = |node: &Valkey| {
            let list = node.command(&["CLIENT", "LIST"])?;
            let lines = list.text().unwrap_or_default().lines();
            Ok::<_, Error>(lines.filter(|line| line.contains(" user=keyplane ")).count())
        };
        self.nodes().iter().map(count).sum()
    }

    /// Bytes that all nodes use.
    pub(super) fn memory(&self) -> Result<u64, Error> {
        self.nodes().iter().map(rig::used_memory).sum()
    }

    /// Number of the server's version, such as `9.1.0`.
    pub(super) fn version(&self) -> Result<String, Error> {
        rig::info(&self.nodes()[0], "server", "valkey_version")
    }
}

// === impl Pair ===

impl Pair {
    fn start(instances: usize) -> Result<Pair, Error> {
        let toolbox = Toolbox::find();
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let start = |folder: &TempDir| {
            let builder = Valkey::builder(&toolbox).may_wait(true).password("soak").dir(folder.path());
            // Written before it is acknowledged, but not to the disk: the kernel outlives the server.
            builder.setting("appendonly", "yes").setting("appendfsync", "no").start()
        };
        let nodes = [start(&folders[0])?, start(&folders[1])?];
        let proxies = (0..instances).map(|_| FaultProxy::to_port(nodes[0].port())).collect();
        let pair = Pair { nodes, folders, primary: AtomicUsize::new(0), proxies };
        pair.replicate()?;
        pair.wait_in_sync()?;
        Ok(pair)
    }

    pub(super) fn primary(&self) -> &Valkey {
        &self.nodes[self.primary.load(Ordering::SeqCst)]
    }

    pub(super) fn replica(&self) -> &Valkey {
        &self.nodes[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// Starts the primary again, which was killed.
    pub(super) fn restart(&self, empty: bool) -> Result<(), Error> {
        if empty {
            let folder = self.folders[self.primary.load(Ordering::SeqCst)].path().join("appendonlydir");
            std::fs::remove_dir_all(&folder).map_err(|error| format!("removing {}: {error}", folder.display()))?;
        }
        Ok(self.primary().restart()?)
    }

    /// Replica is the primary from now on, and new connections lead to it. The other one has to follow, once it can.
    pub(super) fn promote(&self) -> Result<(), Error> {
        self.replica().command(&["REPLICAOF", "NO", "ONE"])?;
        self.primary.fetch_xor(1, Ordering::SeqCst);
        let port = self.primary().port();
        for proxy in &self.proxies {
            proxy.redirect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        Ok(())
    }

    /// Replica follows the primary.
    pub(super) fn replicate(&self) -> Result<(), Error> {
        let port = self.primary().port().to_string();
        self.replica().command(&["REPLICAOF", "127.0.0.1", &port])?;
        Ok(())
    }

    /// Roles change for a while: the primary follows its replica, at the same address.
    pub(super) fn demote(&self) -> Result<(), Error> {
        let port = self.replica().port().to_string();
        self.replica().command(&["REPLICAOF", "NO", "ONE"])?;
        self.primary().command(&["REPLICAOF", "127.0.0.1", &port])?;
        Ok(())
    }

    /// Ends a [`Pair::demote`].
    pub(super) fn reinstate(&self) -> Result<(), Error> {
        self.primary().command(&["REPLICAOF", "NO", "ONE"])?;
        self.replicate()
    }

    /// Stops writes until [`Pair::go_on`], after the replica has all earlier ones.
    pub(super) fn hold_writes(&self) -> Result<(), Error> {
        self.primary().command(&["CLIENT", "PAUSE", "10000", "WRITE"])?;
        self.wait_in_sync()
    }

    pub(super) fn go_on(&self, node: &Valkey) -> Result<(), Error> {
        node.command(&["CLIENT", "UNPAUSE"])?;
        Ok(())
    }

    /// Waits until the replica has what the primary has.
    pub(super) fn wait_in_sync(&self) -> Result<(), Error> {
        let until = Instant::now() + SYNC;
        loop {
            let (sent, taken) = (info(self.primary())?, info(self.replica())?);
            let up = field(&taken, "master_link_status") == Some("up");
            if up && field(&sent, "master_repl_offset") == field(&taken, "slave_repl_offset") {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the replica is not in sync after {SYNC:?}: {taken}").into());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn info(node: &Valkey) -> Result<String, Error> {
    match node.command(&["INFO", "replication"])? {
        Reply::Text(text) => Ok(text),
        Reply::Nil | Reply::Int(_) | Reply::Array(_) | Reply::Error(_) => Err("INFO has no text".into()),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

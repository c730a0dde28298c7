//! Writes that are acknowledged once replicas have them: the script and its `WAIT` over one connection of the partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyplane_valkey::{Arg, Dedicated, Error, Key, Script, Valkey, Value};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Replication;
use crate::domain::Durability;

/// How often it is looked whether replicas have come, while there are too few.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A connection that was idle for so long may have been forgotten on the way, and is made anew.
const IDLE: Duration = Duration::from_secs(30);

/// One for each partition.
pub(super) struct Links {
    lines: Vec<Arc<Line>>,
    allowed: AtomicBool,
    replicas: u32,
    within: Duration,
}

/// The way to a partition's primary.
#[derive(Default)]
struct Line {
    state: Mutex<LineState>,
    /// Held while the connection is made, so that callers at the same time share it.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct LineState {
    /// Whether as many replicas are attached as are wanted.
    attached: bool,
    looking: bool,
    looked: Option<Instant>,
    link: Option<Arc<Link>>,
}

/// A connection that callers share.
struct Link {
    connection: Dedicated,
    used: Mutex<Instant>,
    /// How many scripts were answered.
    answered: AtomicU64,
    round: tokio::sync::Mutex<Round>,
}

/// The last `WAIT`.
#[derive(Clone, Copy, Default)]
struct Round {
    /// How many of the answered scripts it covered.
    covered: u64,
    replicas: u32,
}

// === impl Links ===

impl Links {
    pub(super) fn new(partitions: u32, replication: Replication) -> Links {
        let (replicas, within) = match replication {
            Replication::Auto { replicas, within } => (replicas.max(1), within),
            Replication::Off => (0, Duration::ZERO),
        };
        let lines = (0..partitions.max(1)).map(|_| Arc::default()).collect();
        Links { lines, allowed: AtomicBool::new(false), replicas, within }
    }

    /// The engine has `WAIT`, and this user may call it.
    pub(super) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    /// Finds out whether as many replicas are attached as are wanted, over a connection of its own.
    pub(super) async fn look(&self, valkey: &Valkey, partition: u32, key: Key) {
        look(self.line(partition), valkey, &key, self.replicas, self.within).await;
    }

    /// Runs a script that writes, and waits for replicas if there are any. Only the script's failure is one.
    ///
    /// Cancel safe as [`Valkey::run`] is.
    pub(super) async fn run(
        &self,
        valkey: &Valkey,
        partition: u32,
        script: &'static Script,
        keys: &[&Key],
        args: &[Arg<'_>],
    ) -> Result<(Value, Durability), Error> {
        if let Some(link) = self.link(valkey, partition, keys).await {
            match link.connection.run(script, keys, args).await {
                Ok(value) => return Ok((value, self.settle(valkey, partition, keys, &link).await)),
                // What surely did not happen can happen over the pool, which knows its way after a failover.
                Err(error) if error.retryable() && !error.outcome_unknown() => self.drop_link(partition, &link),
                Err(error) => {
                    if link.connection.is_broken() {
                        self.drop_link(partition, &link);
                    }
                    return Err(error);
                }
            }
        }
        Ok((valkey.run(script, keys, args).await?, Durability::PrimaryOnly))
    }

    /// The partition's connection, unless there is nobody to wait for.
    async fn link(&self, valkey: &Valkey, partition: u32, keys: &[&Key]) -> Option<Arc<Link>> {
        let key = *keys.first()?;
        if !self.allowed.load(Ordering::Relaxed) {
            return None;
        }
        let line = self.line(partition);
        if !line.state.lock().attached {
            self.look_soon(valkey, partition, key);
            return None;
        }
        if let Some(link) = line.usable() {
            return Some(link);
        }
        let _making = line.making.lock().await;
        if let Some(link) = line.usable() {
            return Some(link);
        }
        let connection = valkey.dedicate(key).await.ok()?;
        let link = Arc::new(Link {
            connection,
            used: Mutex::new(Instant::now()),
            answered: AtomicU64::new(0),
            round: tokio::sync::Mutex::default(),
        });
        line.state.lock().link = Some(link.clone());
        Some(link)
    }

    /// Waits for the replicas to have what the caller's script, which was answered, wrote.
    async fn settle(&self, valkey: &Valkey, partition: u32, keys: &[&Key], link: &Link) -> Durability {
        match link.settle(self.replicas, self.within).await {
            Ok(replicas) if replicas >= self.replicas => Durability::Replicated,
            Ok(_) => {
                if let Some(key) = keys.first() {
                    self.look_soon(valkey, partition, key);
                }
                Durability::PrimaryOnly
            }
            // The primary has acknowledged it. The connection is broken; the next caller makes another.
            Err(_) => Durability::PrimaryOnly,
        }
    }

    /// Looks for replicas in the background, now and then.
    fn look_soon(&self, valkey: &Valkey, partition: u32, key: &Key) {
        let line = self.line(partition);
        {
            let mut state = line.state.lock();
            let lately = state.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN);
            if lately || state.looking {
                return;
            }
            state.looking = true;
        }
        let (line, valkey, key) = (line.clone(), valkey.clone(), key.clone());
        let (replicas, within) = (self.replicas, self.within);
        tokio::spawn(async move { look(&line, &valkey, &key, replicas, within).await });
    }

    fn drop_link(&self, partition: u32, link: &Arc<Link>) {
        let mut state = self.line(partition).state.lock();
        state.link.take_if(|current| Arc::ptr_eq(current, link));
    }

    fn line(&self, partition: u32) -> &Arc<Line> {
        &self.lines[partition as usize % self.lines.len()]
    }
}

// === impl Line ===

impl Line {
    fn usable(&self) -> Option<Arc<Link>> {
        let mut state = self.state.lock();
        let link = state.link.as_ref()?;
        let idle = std::mem::replace(&mut *link.used.lock(), Instant::now()).elapsed();
        if link.connection.is_broken() || idle > IDLE {
            state.link = None;
        }
        state.link.clone()
    }
}

// === impl Link ===

impl Link {
    /// How many replicas have what was answered before the call. One `WAIT` serves all who came before it was sent.
    async fn settle(&self, replicas: u32, within: Duration) -> Result<u32, Error> {
        let own = self.answered.fetch_add(1, Ordering::AcqRel) + 1;
        let mut round = self.round.lock().await;
        if round.covered < own {
            let covered = self.answered.load(Ordering::Acquire);
            let replicas = self.connection.wait(replicas, within).await?;
            *round = Round { covered, replicas };
        }
        Ok(round.replicas)
    }
}

async fn look(line: &Line, valkey: &Valkey, key: &Key, replicas: u32, within: Duration) {
    let count = async { valkey.dedicate(key).await?.wait(replicas, within).await }.await;
    let mut state = line.state.lock();
    state.looking = false;
    state.looked = Some(Instant::now());
    match count {
        Ok(count) => state.attached = count >= replicas,
        // Nothing was learnt; writes will tell whether the store is there at all.
        Err(error) => tracing::debug!(%error, "could not ask the store for its replicas"),
    }
}

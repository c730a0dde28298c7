//! Replicated writes, acknowledged once replicas have them: the script and its `WAIT` over one connection a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyplane_valkey::{Arg, Dedicated, Error, Key, Script, Valkey, Value};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Replication;
use crate::domain::Durability;

/// Interval of looks for replicas, while too few are attached.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Idle time after which a connection is made anew: a firewall on the way may have forgotten it.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that wait for replicas, one for each partition.
pub(super) struct ReplicatedWrites {
    lines: Vec<Arc<Line>>,
    allowed: AtomicBool,
    replicas: u32,
    within: Duration,
}

/// Connection to a partition's primary, and whether replicas are attached there.
#[derive(Default)]
struct Line {
    state: Mutex<LineState>,
    /// Lock while the connection is made, so that callers at the same time share it.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct LineState {
    /// Set while as many replicas are attached as are wanted.
    attached: bool,
    looking: bool,
    looked: Option<Instant>,
    shared: Option<Arc<SharedConnection>>,
}

/// Connection that callers share.
struct SharedConnection {
    connection: Dedicated,
    used: Mutex<Instant>,
    /// Number of scripts that were answered.
    answered: AtomicU64,
    round: tokio::sync::Mutex<Round>,
}

/// Last `WAIT`.
#[derive(Clone, Copy, Default)]
struct Round {
    /// Number of answered scripts that it covered.
    covered: u64,
    replicas: u32,
}

// === impl ReplicatedWrites ===

impl ReplicatedWrites {
    pub(super) fn new(partitions: u32, replication: Replication) -> ReplicatedWrites {
        let (replicas, within) = match replication {
            Replication::Auto { replicas, within } => (replicas.max(1), within),
            Replication::Off => (0, Duration::ZERO),
        };
        let lines = (0..partitions.max(1)).map(|_| Arc::default()).collect();
        ReplicatedWrites { lines, allowed: AtomicBool::new(false), replicas, within }
    }

    /// Allows waits: the engine has `WAIT`, and this user may call it.
    pub(super) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    /// Finds out, over a connection of its own, whether as many replicas are attached as are wanted.
    pub(super) async fn look(&self, valkey: &Valkey, partition: u32, key: Key) {
        look(self.line(partition), valkey, &key, self.replicas, self.within).await;
    }

    /// Runs a script that writes, and waits for replicas if there are any. Fails only if the script does.
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
        if let Some(shared) = self.connection(valkey, partition, keys).await {
            match shared.connection.run(script, keys, args).await {
                Ok(value) => return Ok((value, self.wait_for_replicas(valkey, partition, keys, &shared).await)),
                // A script that surely did not run can run over the pool, which knows its way after a failover.
                Err(error) if error.retryable() && !error.outcome_unknown() => self.drop_connection(partition, &shared),
                Err(error) => {
                    if shared.connection.is_broken() {
                        self.drop_connection(partition, &shared);
                    }
                    return Err(error);
                }
            }
        }
        Ok((valkey.run(script, keys, args).await?, Durability::PrimaryOnly))
    }

    /// Connection of the partition, unless there is nobody to wait for.
    async fn connection(&self, valkey: &Valkey, partition: u32, keys: &[&Key]) -> Option<Arc<SharedConnection>> {
        let key = *keys.first()?;
        if !self.allowed.load(Ordering::Relaxed) {
            return None;
        }
        let line = self.line(partition);
        if !line.state.lock().attached {
            self.look_soon(valkey, partition, key);
            return None;
        }
        if let Some(shared) = line.usable() {
            return Some(shared);
        }
        let _making = line.making.lock().await;
        if let Some(shared) = line.usable() {
            return Some(shared);
        }
        let connection = valkey.dedicate(key).await.ok()?;
        let shared = Arc::new(SharedConnection {
            connection,
            used: Mutex::new(Instant::now()),
            answered: AtomicU64::new(0),
            round: tokio::sync::Mutex::default(),
        });
        line.state.lock().shared = Some(shared.clone());
        Some(shared)
    }

    /// Waits until replicas have the writes of the caller's script, which was answered.
    async fn wait_for_replicas(
        &self,
        valkey: &Valkey,
        partition: u32,
        keys: &[&Key],
        shared: &SharedConnection,
    ) -> Durability {
        match shared.wait(self.replicas, self.within).await {
            Ok(replicas) if replicas >= self.replicas => Durability::Replicated,
            Ok(_) => {
                if let Some(key) = keys.first() {
                    self.look_soon(valkey, partition, key);
                }
                Durability::PrimaryOnly
            }
            // The primary has acknowledged the write. The connection is broken; the next caller makes another.
            Err(_) => Durability::PrimaryOnly,
        }
    }

    /// Looks for replicas in the background, at most once in [`LOOK_AGAIN`].
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

    fn drop_connection(&self, partition: u32, shared: &Arc<SharedConnection>) {
        let mut state = self.line(partition).state.lock();
        state.shared.take_if(|current| Arc::ptr_eq(current, shared));
    }

    fn line(&self, partition: u32) -> &Arc<Line> {
        &self.lines[partition as usize % self.lines.len()]
    }
}

// === impl Line ===

impl Line {
    fn usable(&self) -> Option<Arc<SharedConnection>> {
        let mut state = self.state.lock();
        let shared = state.shared.as_ref()?;
        let idle = std::mem::replace(&mut *shared.used.lock(), Instant::now()).elapsed();
        if shared.connection.is_broken() || idle > IDLE {
            state.shared = None;
        }
        state.shared.clone()
    }
}

// === impl SharedConnection ===

impl SharedConnection {
    /// Waits for replicas, and returns how many have the scripts that were answered before the call. One `WAIT` serves
    /// all callers before it.
    async fn wait(&self, replicas: u32, within: Duration) -> Result<u32, Error> {
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
        // Nothing was learnt; writes will show whether the store is available at all.
        Err(error) => tracing::debug!(%error, "the store could not be asked for its replicas"),
    }
}

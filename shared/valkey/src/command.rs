//! One call: admit, send, correct, judge.

use std::sync::Arc;
use std::time::Duration;

use fred::bytes_utils::Str;
use fred::types::Value as Fred;
use futures::FutureExt as _;
use tokio::time::Instant;
use tracing::Span;

use crate::failure::Failure;
use crate::node::{Connection, Node};
use crate::observe::Operation;
use crate::patience::patience;
use crate::{Arg, Error, ErrorKind, Key, Script, Valkey, Value};

/// Longest wait for a connection that is being restored. A server that closes a connection now and then (load balancing,
/// a rolling update) is not an outage.
const GRACE: Duration = Duration::from_millis(100);
/// Most times that one command is sent again; it reads, or did not run. A slot may have moved to a node that lacks the
/// script.
pub(crate) const CORRECTIONS: u32 = 5;
/// Shortest wait whose timeout counts against the server.
const SIGNIFICANT: Duration = Duration::from_millis(100);

/// Admitted call.
struct Attempt<'a> {
    valkey: &'a Valkey,
    node: Arc<Node>,
    connection: Connection,
    /// Slot of the call's keys, in a cluster.
    slot: Option<u16>,
    operation: Operation,
    span: Span,
    start: Instant,
    /// End of the caller's wait.
    until: Instant,
    /// Patience for the last command.
    waited: Duration,
    /// True if the node imports the slot, and serves it only after ASKING.
    asking: bool,
}

/// Remedy for a failure.
enum Correction {
    /// None: the failure is the call's own.
    None,
    /// Send the command again, now.
    Again,
    /// None: the command did not run, and can't be sent again.
    Unsent(Failure),
}

// === impl Valkey ===

impl Valkey {
    /// Runs a script by its SHA-1; loads it first if the server lacks it (a new node, a restart, a failover, a flush).
    ///
    /// `keys` must not be empty and must share one hash tag. The script is written to the wire at most once. If the
    /// connection breaks then, or no reply comes in time, the error is of [unknown outcome](Error::outcome_unknown), and
    /// only an idempotent script may be called again. NOSCRIPT and redirections within a cluster are followed: the script
    /// did not run.
    ///
    /// Cancel safe: nothing breaks, but the script may still run.
    pub async fn run(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        debug_assert!(one_slot(keys), "the keys of {} must share a hash tag", script.name());
        self.run_together(script, keys, args).await
    }

    /// Slot of a key in a cluster, `None` on one server: keys with equal places may share a [`Valkey::run_together`].
    pub fn place(&self, key: &Key) -> Option<u16> {
        self.is_cluster().then(|| fred::util::redis_keyslot(key.as_str().as_bytes()))
    }

    /// [`Valkey::run`] for a script that does several independent things. Its keys need one [`Valkey::place`], but no common
    /// hash tag.
    pub async fn run_together(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        let Some(first) = keys.first() else {
            return Err(Error::new(ErrorKind::Script, script.name(), "a script needs at least one key"));
        };
        debug_assert!(!self.is_cluster() || one_slot(keys), "the keys of {} must be of one place", script.name());
        let feature = first.feature().name();
        let operation = Operation { command: "EVALSHA", script: Some(script), feature, changes: true };
        self.send(operation, Some(first), || eval_arguments(script.sha(), keys, args)).await
    }

    /// Sends a command to the node that owns `key`, or to any node; follows redirections and loads missing scripts.
    pub(crate) async fn send(
        &self,
        operation: Operation,
        key: Option<&Key>,
        arguments: impl Fn() -> Vec<Fred>,
    ) -> Result<Value, Error> {
        let slot = key.and_then(|key| self.place(key));
        let mut attempt = self.begin(operation, slot, None).await?;
        let mut corrections = 0;
        let result = loop {
            let result = attempt.send(operation.command, arguments()).await;
            let Err(failure) = &result else { break result };
            if corrections == CORRECTIONS {
                break result;
            }
            corrections += 1;
            match attempt.correct(failure).boxed().await {
                Correction::None => break result,
                Correction::Unsent(failure) => return Err(attempt.fail_unsent(failure)),
                Correction::Again if attempt.left().is_none() => return Err(attempt.fail_unsent(Failure::timed_out())),
                Correction::Again => {}
            }
        };
        attempt.finish(result)
    }

    /// Sends a command without a key to one node.
    pub(crate) async fn ask_node(&self, operation: Operation, node: Arc<Node>) -> Result<Value, Error> {
        let mut attempt = self.begin(operation, None, Some(node)).await?;
        let result = attempt.send(operation.command, Vec::new()).await;
        attempt.finish(result)
    }

    /// Admits a call if there is time, the breaker lets it pass, and a connection is up.
    async fn begin(
        &self,
        operation: Operation,
        slot: Option<u16>,
        node: Option<Arc<Node>>,
    ) -> Result<Attempt<'_>, Error> {
        let span = self.pool.common.observer.span(&operation);
        match self.admit(&operation, slot, node).await {
            Ok((node, connection, until)) => {
                let (start, waited) = (Instant::now(), Duration::ZERO);
                let valkey = self;
                Ok(Attempt { valkey, node, connection, slot, operation, span, start, until, waited, asking: false })
            }
            Err(error) => {
                self.pool.common.observer.mark(&span, &error);
                Err(error)
            }
        }
    }

    async fn admit(
        &self,
        operation: &Operation,
        slot: Option<u16>,
        node: Option<Arc<Node>>,
    ) -> Result<(Arc<Node>, Connection, Instant), Error> {
        let (common, name) = (&self.pool.common, operation.name());
        if common.is_closed() {
            return Err(Error::closed(name));
        }
        let wait = patience(common.command_timeout, name)?;
        let until = Instant::now() + wait;
        let node = node.or_else(|| self.pool.node(slot));
        if let Some(node) = &node {
            node.health.breaker.admit().map_err(|left| Error::breaker_open(name, left))?;
            if let Some(connection) = node.connection() {
                return Ok((node.clone(), connection, until));
            }
        }
        // Rare; boxed to keep the future of every call small.
        let (node, connection) = self.wait_for_connection(node, slot, name, until).boxed().await?;
        Ok((node, connection, until))
    }

    async fn wait_for_connection(
        &self,
        node: Option<Arc<Node>>,
        slot: Option<u16>,
        name: &'static str,
        until: Instant,
    ) -> Result<(Arc<Node>, Connection), Error> {
        let patience = until.min(Instant::now() + GRACE);
        let node = match node {
            Some(node) => node,
            None => self.pool.node_by(slot, patience).await.ok_or_else(|| self.pool.no_node(slot, name))?,
        };
        if let Some(connection) = node.connection_by(patience).await {
            return Ok((node, connection));
        }
        if node.health.failed() {
            node.suspect();
        }
        Err(node.not_connected(name))
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    /// Sends any command; writes it at most once and waits for the time that is left.
    async fn send(&mut self, command: &'static str, arguments: Vec<Fred>) -> Result<Value, Failure> {
        self.waited = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let wire = &self.connection.wire;
        if std::mem::take(&mut self.asking) {
            // Back to back; if another call comes between, this one is redirected again.
            let asking = wire.call("ASKING", Vec::new(), self.waited);
            let (_, reply) = futures::future::join(asking, wire.call(command, arguments, self.waited)).boxed().await;
            return reply;
        }
        wire.call(command, arguments, self.waited).await
    }

    /// Removes the cause of `failure`, where possible.
    async fn correct(&mut self, failure: &Failure) -> Correction {
        match failure {
            Failure::Answered(details) => match (failure.code(), self.operation.script) {
                (Some("NOSCRIPT"), Some(script)) => {
                    let loaded = self.send("SCRIPT", script.load_arguments()).await;
                    loaded.map_or_else(Correction::Unsent, |_| Correction::Again)
                }
                (Some(code @ ("MOVED" | "ASK")), _) => self.follow(details, code == "MOVED").await,
                _ => Correction::None,
            },
            Failure::Unanswered(_) if !self.operation.changes && failure.is_lost() => {
                // fred fails the calls before it reports the loss.
                self.connection.wire.close();
                let pool = &self.valkey.pool;
                let Some(node) = pool.node_by(self.slot, self.until).await else { return Correction::None };
                let Some(connection) = node.connection_by(self.until).await else { return Correction::None };
                (self.node, self.connection) = (node, connection);
                Correction::Again
            }
            Failure::Unanswered(_) => Correction::None,
        }
    }

    /// Moves the call to the node that a redirection names: `MOVED <slot> <host>:<port>`.
    async fn follow(&mut self, details: &str, moved: bool) -> Correction {
        let (Some(cluster), Some(slot), Some(left)) = (self.valkey.pool.cluster(), self.slot, self.left()) else {
            return Correction::None;
        };
        let Some(address) = details.split_whitespace().nth(2) else { return Correction::None };
        let by = &self.node.server;
        let node = if moved { cluster.moved(slot, address, by, left).await } else { cluster.importing(address, by) };
        let Some(node) = node.filter(|node| node.health.breaker.admit().is_ok()) else { return Correction::None };
        let Some(connection) = node.connection_by(self.until).await else { return Correction::None };
        // The node that redirects has answered, and takes no further part.
        self.node.health.answered();
        (self.node, self.connection, self.asking) = (node, connection, !moved);
        Correction::Again
    }

    /// Rest of the caller's patience; `None` below a millisecond.
    fn left(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        (left >= Duration::from_millis(1)).then_some(left)
    }

    /// Ends the call: breaker, span and measurements.
    fn finish(self, result: Result<Value, Failure>) -> Result<Value, Error> {
        match result {
            Ok(value) => {
                self.node.health.answered();
                self.observe(None);
                Ok(value)
            }
            Err(failure) => Err(self.fail(&failure)),
        }
    }

    fn fail(self, failure: &Failure) -> Error {
        self.judge(failure);
        let error = Error::from_failure(failure, self.operation.name(), self.operation.changes);
        self.observe(Some(&error));
        error
    }

    /// Ends a call whose command did not run.
    fn fail_unsent(mut self, failure: Failure) -> Error {
        self.operation.changes = false;
        self.fail(&failure)
    }

    fn observe(&self, error: Option<&Error>) {
        self.valkey.pool.common.observer.ended(&self.operation, &self.span, self.start.elapsed(), error);
    }

    /// Counts a failure for or against the node and the connection.
    fn judge(&self, failure: &Failure) {
        let health = &self.node.health;
        if failure.is_answer() {
            health.answered();
            match failure.code() {
                Some("READONLY" | "REDIRECT") => self.node.replace(&self.connection),
                Some("MOVED" | "CLUSTERDOWN" | "MASTERDOWN") => health.common.doubt(),
                _ => {}
            }
            return;
        }
        let timed_out = failure.is_timeout() && self.waited >= SIGNIFICANT.min(health.common.command_timeout);
        if (timed_out || failure.is_lost()) && health.failed() {
            self.node.suspect();
        }
    }
}

pub(crate) fn eval_arguments(sha: Str, keys: &[&Key], args: &[Arg<'_>]) -> Vec<Fred> {
    let mut arguments = Vec::with_capacity(2 + keys.len() + args.len());
    arguments.push(Fred::String(sha));
    arguments.push(Fred::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX)));
    arguments.extend(keys.iter().map(|key| Fred::String(key.text().clone())));
    arguments.extend(args.iter().map(|arg| arg.to_fred()));
    arguments
}

pub(crate) fn one_slot(keys: &[&Key]) -> bool {
    let mut slots = keys.iter().map(|key| fred::util::redis_keyslot(key.as_str().as_bytes()));
    let first = slots.next();
    slots.all(|slot| Some(slot) == first)
}

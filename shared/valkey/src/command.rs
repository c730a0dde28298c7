//! How one call goes: admitted, sent, timed, judged.

use std::sync::Arc;
use std::time::Duration;

use fred::bytes_utils::Str;
use fred::error::ErrorKind as Kind;
use fred::types::Value as Fred;
use futures::FutureExt as _;
use tokio::time::Instant;
use tracing::Span;

use crate::error::server_code;
use crate::node::{Connection, Node};
use crate::observe::Operation;
use crate::patience::patience;
use crate::wire::FredResult;
use crate::{Arg, Error, ErrorKind, Key, Script, Valkey, Value};

/// How long a call waits for a connection that is being restored. A server that closes a connection now and then (load
/// balancing, a rolling update) is not an outage.
const GRACE: Duration = Duration::from_millis(100);
/// Most times that a command is sent again which surely did not run, or only reads: a slot may have moved to a node that
/// lacks the script.
pub(crate) const CORRECTIONS: u32 = 5;
/// A call that waited less than this says nothing about the server when it times out.
const TELLING: Duration = Duration::from_millis(100);

/// A call that was admitted.
struct Attempt<'a> {
    valkey: &'a Valkey,
    node: Arc<Node>,
    connection: Connection,
    /// The slot of the call's keys, in a cluster.
    slot: Option<u16>,
    operation: Operation,
    span: Span,
    start: Instant,
    /// The moment at which the caller stops to wait.
    until: Instant,
    /// How long the last command was waited for.
    waited: Duration,
    /// The node has the slot only for those who ask for it so.
    asking: bool,
}

/// Remedy for a failure.
enum Correction {
    /// Nothing: it is the call's own.
    None,
    /// The command may be sent again, now.
    Again,
    /// The command did not run, and can't be sent again.
    Unsent(fred::error::Error),
}

// === impl Valkey ===

impl Valkey {
    /// Runs a script by its SHA-1 and loads it first where the server does not know it (a new node, a restart, a
    /// failover, a flush).
    ///
    /// `keys` must not be empty and must share one hash tag. The script is written to the wire at most once: when the
    /// connection breaks after that, or no reply comes in time, the error says
    /// [`outcome_unknown`](Error::outcome_unknown), and it is up to the script's own idempotency whether to call again.
    /// (NOSCRIPT, and a redirection within a cluster, say that it did not run, and are followed.)
    ///
    /// Cancel safe in that nothing breaks; the script may still run.
    pub async fn run(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        debug_assert!(one_slot(keys), "the keys of {} must share a hash tag", script.name());
        self.run_together(script, keys, args).await
    }

    /// Where a key is: keys of an equal place may share a call of [`Valkey::run_together`]. On one server all do.
    pub fn place(&self, key: &Key) -> Option<u16> {
        self.is_cluster().then(|| fred::util::redis_keyslot(key.as_str().as_bytes()))
    }

    /// [`Valkey::run`] for a script that does several independent things in one call, and whose keys need not share a hash
    /// tag where one server has them all: they must be of one [`Valkey::place`].
    pub async fn run_together(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        let Some(first) = keys.first() else {
            return Err(Error::new(ErrorKind::Script, script.name(), "a script needs at least one key"));
        };
        debug_assert!(!self.is_cluster() || one_slot(keys), "the keys of {} must be of one place", script.name());
        let feature = first.feature().name();
        let operation = Operation { command: "EVALSHA", script: Some(script), feature, changes: true };
        self.send(operation, Some(first), || eval_arguments(script.sha(), keys, args)).await
    }

    /// A read of `key`: it may be sent again after a lost connection.
    pub(crate) async fn read(&self, command: &'static str, key: &Key, rest: Vec<Fred>) -> Result<Value, Error> {
        let arguments = || std::iter::once(Fred::String(key.text().clone())).chain(rest.iter().cloned()).collect();
        self.send(Operation::read(command, key.feature().name()), Some(key), arguments).await
    }

    /// Sends a command to the node that owns `key`, or to any, and follows what its answer demands.
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
            let Err(error) = &result else { break result };
            if corrections == CORRECTIONS {
                break result;
            }
            corrections += 1;
            match attempt.correct(error).boxed().await {
                Correction::None => break result,
                Correction::Unsent(error) => return attempt.finish_unsent(error),
                Correction::Again if attempt.left().is_none() => return attempt.finish_unsent(timed_out()),
                Correction::Again => {}
            }
        };
        attempt.finish(result).map(Value::from_fred)
    }

    /// Sends a command without a key to one node.
    pub(crate) async fn ask_node(&self, operation: Operation, node: Arc<Node>) -> Result<Value, Error> {
        let mut attempt = self.begin(operation, None, Some(node)).await?;
        let result = attempt.send(operation.command, Vec::new()).await;
        attempt.finish(result).map(Value::from_fred)
    }

    /// Admits a call: there is time, the breaker lets it pass, and a connection is up.
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
                self.pool.common.observer.refused(&span, &error);
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
        // Seldom, and not to make every call's future larger.
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
    /// Any command, written at most once and answered in the time that is left.
    async fn send(&mut self, command: &'static str, arguments: Vec<Fred>) -> FredResult {
        self.waited = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let wire = &self.connection.wire;
        if std::mem::take(&mut self.asking) {
            // The one right behind the other. Should another call come between, this one is redirected again.
            let asking = wire.call("ASKING", Vec::new(), self.waited);
            let (_, reply) = futures::future::join(asking, wire.call(command, arguments, self.waited)).boxed().await;
            return reply;
        }
        wire.call(command, arguments, self.waited).await
    }

    /// Makes good what `error` says, where that is possible.
    async fn correct(&mut self, error: &fred::error::Error) -> Correction {
        let details = error.details();
        match server_code(details) {
            Some("NOSCRIPT") => match self.operation.script {
                Some(script) => {
                    let load = vec![Fred::from_static_str("LOAD"), Fred::from_static_str(script.source())];
                    self.send("SCRIPT", load).await.map_or_else(Correction::Unsent, |_| Correction::Again)
                }
                None => Correction::None,
            },
            Some(code @ ("MOVED" | "ASK")) => self.follow(details, code == "MOVED").await,
            Some(_) => Correction::None,
            None if !self.operation.changes && is_lost(error) => {
                // fred says it to the calls before it says it to us.
                self.connection.wire.close();
                let pool = &self.valkey.pool;
                let Some(node) = pool.node_by(self.slot, self.until).await else { return Correction::None };
                let Some(connection) = node.connection_by(self.until).await else { return Correction::None };
                (self.node, self.connection) = (node, connection);
                Correction::Again
            }
            None => Correction::None,
        }
    }

    /// Goes to the node that a redirection names: `MOVED <slot> <host>:<port>`.
    async fn follow(&mut self, details: &str, moved: bool) -> Correction {
        let (Some(cluster), Some(slot), Some(left)) = (self.valkey.pool.cluster(), self.slot, self.left()) else {
            return Correction::None;
        };
        let Some(address) = details.split_whitespace().nth(2) else { return Correction::None };
        let by = &self.node.server;
        let node = if moved { cluster.moved(slot, address, by, left).await } else { cluster.importing(address, by) };
        let Some(node) = node.filter(|node| node.health.breaker.admit().is_ok()) else { return Correction::None };
        let Some(connection) = node.connection_by(self.until).await else { return Correction::None };
        // It answered, and has no more to do with this call.
        self.node.health.answered();
        (self.node, self.connection, self.asking) = (node, connection, !moved);
        Correction::Again
    }

    /// What is left of the caller's patience, if a command is worth while still.
    fn left(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        (left >= Duration::from_millis(1)).then_some(left)
    }

    /// Ends the call: breaker, span and measurements; and turns fred's error into ours.
    fn finish(self, result: FredResult) -> Result<Fred, Error> {
        let result = match result {
            Ok(value) => {
                self.node.health.answered();
                Ok(value)
            }
            Err(error) => {
                self.judge(&error);
                Err(Error::from_fred(&error, self.operation.name(), self.operation.changes))
            }
        };
        let observer = &self.valkey.pool.common.observer;
        observer.ended(&self.operation, &self.span, self.start.elapsed(), result.as_ref().err());
        result
    }

    /// Ends a call of which only harmless parts were sent.
    fn finish_unsent<T>(mut self, error: fred::error::Error) -> Result<T, Error> {
        self.operation.changes = false;
        match self.finish(Err(error)) {
            Err(error) => Err(error),
            Ok(_) => Err(Error::not_connected("")),
        }
    }

    /// Takes note of what a failure says about the node and the connection.
    fn judge(&self, error: &fred::error::Error) {
        let health = &self.node.health;
        if let Some(code) = server_code(error.details()) {
            health.answered();
            match code {
                "READONLY" | "REDIRECT" => self.node.replace(&self.connection),
                "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" => health.common.doubt(),
                _ => {}
            }
            return;
        }
        let timed_out = error.kind() == &Kind::Timeout && self.waited >= TELLING.min(health.common.command_timeout);
        let telling = timed_out || is_lost(error);
        if telling && health.failed() {
            self.node.suspect();
        }
    }
}

/// Whether the connection went before the answer came.
pub(crate) fn is_lost(error: &fred::error::Error) -> bool {
    match error.kind() {
        Kind::IO | Kind::Unknown | Kind::Protocol | Kind::Tls | Kind::Canceled | Kind::Routing => true,
        Kind::Timeout
        | Kind::Config
        | Kind::Auth
        | Kind::InvalidCommand
        | Kind::InvalidArgument
        | Kind::Url
        | Kind::Cluster
        | Kind::Parse
        | Kind::Sentinel
        | Kind::NotFound
        | Kind::Backpressure => false,
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

fn timed_out() -> fred::error::Error {
    fred::error::Error::new(Kind::Timeout, "Request timed out.")
}

//! A connection of one's own to the node that holds a key, for reads that wait and for `WAIT`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value as Fred;
use fred::types::config::Server;
use tokio::time::Instant;
use tracing::Span;

use crate::command::{CORRECTIONS, eval_arguments, is_lost, one_slot};
use crate::error::server_code;
use crate::health::Common;
use crate::observe::Operation;
use crate::patience::patience;
use crate::wire::Wire;
use crate::{Arg, Error, ErrorKind, Key, Script, StreamEntry, Valkey, Value};

/// Answers that say: this node is not, or no longer, the one that the key's truth comes from.
const ELSEWHERE: &[&str] = &["MOVED", "ASK", "READONLY", "REDIRECT", "UNBLOCKED", "MASTERDOWN", "CLUSTERDOWN"];

/// One TCP connection to the node that holds a key. From [`Valkey::dedicate`].
///
/// **All replies come from that one connection.** It is never made again: once it broke, was answered by a node that is
/// not the key's primary (MOVED, READONLY, UNBLOCKED and the like, none of which is followed), or left a call without an
/// answer for the whole of its patience, every call fails at once with [`ErrorKind::Unavailable`], for good. Make another
/// then. What was written is never written again.
///
/// **Calls go out in the order in which their futures are first polled**, and the server answers them in that order. So
/// a call behind one that waits, waits as well, out of its own patience. [`Dedicated::wait`] after [`Dedicated::run`] has
/// returned covers what that script wrote (only then: a script that the node does not know is loaded and sent again).
///
/// Each call has its own deadline: the command timeout, plus the time that the server is asked to hold the call, and at
/// most 90 % of what the request's [`deadline`](keyplane_deadline) leaves. A call that the latter cut short leaves the
/// connection whole, and so does dropping the future of a call: its reply is thrown away when it comes.
///
/// The breaker of the pool neither holds these calls back nor hears of them.
///
/// All methods take `&self`; dropping it closes the connection at once.
pub struct Dedicated {
    wire: Wire,
    server: Server,
    common: Arc<Common>,
}

/// A call that was admitted.
struct Call<'a> {
    dedicated: &'a Dedicated,
    operation: Operation,
    span: Span,
    start: Instant,
    /// The moment at which the caller stops to wait.
    until: Instant,
    /// Whether that is the call's own patience, and not a request's deadline.
    full: bool,
    /// Whether the server was asked to hold the call.
    held: bool,
}

// === impl Valkey ===

impl Valkey {
    /// Makes a connection of its own to the node that holds `key` now: see [`Dedicated`]. In a cluster that node is
    /// asked for where it is not known, or where an earlier connection of this kind found it wrong or gone.
    ///
    /// Takes at most the connect timeout, in a cluster twice that, and at most what the request's deadline leaves. It
    /// does not try again by itself: after a failure that is [`retryable`](Error::retryable), as in the middle of a
    /// failover, call it again after some 50 ms.
    ///
    /// Fails with [`ErrorKind::Unavailable`] where no connection can be made or no node serves the key,
    /// [`ErrorKind::Denied`] where user or password are refused. Cancel safe: dropped half-way it leaves no connection.
    pub async fn dedicate(&self, key: &Key) -> Result<Dedicated, Error> {
        let operation = "dedicate";
        if self.pool.common.is_closed() {
            return Err(Error::closed(operation));
        }
        let endpoint = &self.pool.endpoint;
        let within = || patience(endpoint.connection.connection_timeout, operation);
        let server = match &self.pool.common.topology {
            Some(topology) => {
                let slot = fred::util::redis_keyslot(key.as_str().as_bytes());
                topology.owner(endpoint, slot, within()?).await?
            }
            None => Server::new(endpoint.host.to_string(), endpoint.port),
        };
        let common = self.pool.common.clone();
        let wire = Wire::connect(endpoint, server.clone(), within()?).await;
        let wire = wire.map_err(|error| error.in_operation(operation)).inspect_err(|_| common.doubt())?;
        let dedicated = Dedicated { wire, server, common };
        if !endpoint.clustered {
            dedicated.refuse_replicas().await?;
        }
        Ok(dedicated)
    }
}

// === impl Dedicated ===

impl Dedicated {
    /// Waits for at most `block` until the stream has entries after the id `after` (`0` for all), and returns at most
    /// `count` of them, the oldest first; none when the time is over. O(entries returned).
    ///
    /// `block` is counted in milliseconds; less than one returns what is there at once. The server holds the connection
    /// meanwhile, and the call's deadline is `block` more than another's. Fails as [`Dedicated`] describes; also with
    /// [`ErrorKind::Script`] where the key is no stream or `after` no id.
    pub async fn read(
        &self,
        stream: &Key,
        after: &str,
        count: u64,
        block: Duration,
    ) -> Result<Vec<StreamEntry>, Error> {
        let call = self.begin(Operation::read("XREAD", stream.feature().name()), block)?;
        let mut arguments = Vec::with_capacity(7);
        arguments.extend([Fred::from_static_str("COUNT"), int(count)]);
        // To the server 0 means for ever.
        if block >= Duration::from_millis(1) {
            arguments.extend([Fred::from_static_str("BLOCK"), millis(block)]);
        }
        arguments.push(Fred::from_static_str("STREAMS"));
        arguments.extend([Fred::String(stream.text().clone()), Fred::String(after.into())]);
        let result = call.send(arguments).await;
        entries_of_one(call.finish(result)?).map_err(|error| error.in_operation("XREAD"))
    }

    /// As [`Valkey::xrange`], over this connection.
    pub async fn xrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let call = self.begin(Operation::read("XRANGE", key.feature().name()), Duration::ZERO)?;
        let arguments = vec![
            Fred::String(key.text().clone()),
            Fred::String(from.into()),
            Fred::String(to.into()),
            Fred::from_static_str("COUNT"),
            int(count),
        ];
        let result = call.send(arguments).await;
        call.finish(result)?.entries().map_err(|error| error.in_operation("XRANGE"))
    }

    /// These fields of a hash, in the same order; `None` for each that it does not have. O(fields).
    ///
    /// Fails as [`Dedicated`] describes; also with [`ErrorKind::Script`] where the key is no hash or `fields` is empty.
    pub async fn hmget(&self, key: &Key, fields: &[&'static str]) -> Result<Vec<Option<Bytes>>, Error> {
        let call = self.begin(Operation::read("HMGET", key.feature().name()), Duration::ZERO)?;
        let mut arguments = Vec::with_capacity(1 + fields.len());
        arguments.push(Fred::String(key.text().clone()));
        arguments.extend(fields.iter().map(|field| Fred::from_static_str(field)));
        let result = call.send(arguments).await;
        let values = call.finish(result)?.array().map_err(|error| error.in_operation("HMGET"))?;
        let values = values.into_iter().map(|value| if value.is_nil() { Ok(None) } else { value.bytes().map(Some) });
        values.collect::<Result<_, Error>>().map_err(|error| error.in_operation("HMGET"))
    }

    /// As [`Valkey::run`], over this connection: written at most once, loaded first where the node does not know it.
    pub async fn run(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        let Some(first) = keys.first() else {
            return Err(Error::new(ErrorKind::Script, script.name(), "a script needs at least one key"));
        };
        debug_assert!(one_slot(keys), "the keys of {} must share a hash tag", script.name());
        let feature = first.feature().name();
        let operation = Operation { command: "EVALSHA", script: Some(script), feature, changes: true };
        let mut call = self.begin(operation, Duration::ZERO)?;
        let arguments = eval_arguments(script.sha(), keys, args);
        let mut result = call.send(arguments.clone()).await;
        for _ in 0..CORRECTIONS {
            let Err(error) = &result else { break };
            if server_code(error.details()) != Some("NOSCRIPT") {
                break;
            }
            let load = vec![Fred::from_static_str("LOAD"), Fred::from_static_str(script.source())];
            let loaded = call.send_as("SCRIPT", load).await;
            if loaded.is_err() {
                // The script itself did not run.
                call.operation.changes = false;
                return call.finish(loaded);
            }
            result = call.send(arguments.clone()).await;
        }
        call.finish(result)
    }

    /// Waits until `replicas` replicas have all that this connection has written so far, for at most `within` (at least
    /// a millisecond); returns how many have. Fewer than asked for is no error.
    ///
    /// The server holds the connection meanwhile. Where a request's deadline leaves less than `within`, it waits for
    /// less. Fails as [`Dedicated`] describes, and with [`ErrorKind::Denied`] or [`ErrorKind::FeatureMissing`] where
    /// [`Need::Wait`](crate::Need::Wait) is not there. That a replica has it says nothing of its disk, nor that it will
    /// be the one that takes over.
    pub async fn wait(&self, replicas: u32, within: Duration) -> Result<u32, Error> {
        let call = self.begin(Operation::read("WAIT", "none"), within)?;
        let within = within.min(call.patience().mul_f64(0.9)).max(Duration::from_millis(1));
        let result = call.send(vec![Fred::Integer(i64::from(replicas)), millis(within)]).await;
        let count = call.finish(result)?.int().map_err(|error| error.in_operation("WAIT"))?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Whether it is gone for good. `false` promises nothing of the next call.
    pub fn is_broken(&self) -> bool {
        self.wire.is_broken()
    }

    /// Asks a server without cluster mode to answer REDIRECT, rather than from what it has, should it be or become a
    /// replica. Engines before Valkey 8 don't know it, nor do those that hide their replicas.
    async fn refuse_replicas(&self) -> Result<(), Error> {
        let call = self.begin(Operation::read("CLIENT", "none"), Duration::ZERO)?;
        let result = call.send(vec![Fred::from_static_str("CAPA"), Fred::from_static_str("redirect")]).await;
        match call.finish(result) {
            Err(error) if error.code().is_none() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Admits a call which the server may hold for `hold`.
    fn begin(&self, operation: Operation, hold: Duration) -> Result<Call<'_>, Error> {
        let span = self.common.observer.span(&operation);
        match self.admit(&operation, hold) {
            Ok((patience, full)) => {
                let start = Instant::now();
                let held = !hold.is_zero();
                Ok(Call { dedicated: self, operation, span, start, until: start + patience, full, held })
            }
            Err(error) => {
                self.common.observer.refused(&span, &error);
                Err(error)
            }
        }
    }

    fn admit(&self, operation: &Operation, hold: Duration) -> Result<(Duration, bool), Error> {
        if self.common.is_closed() {
            return Err(Error::closed(operation.name()));
        }
        if self.wire.is_broken() {
            self.common.doubt();
            let message = "this connection to the store is gone and is not made again; make another";
            return Err(Error::new(ErrorKind::Unavailable, operation.name(), message));
        }
        let limit = self.common.command_timeout.saturating_add(hold);
        let patience = patience(limit, operation.name())?;
        Ok((patience, patience == limit))
    }
}

impl fmt::Debug for Dedicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedicated")
            .field("node", &format_args!("{}:{}", self.server.host, self.server.port))
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

// === impl Call ===

impl Call<'_> {
    async fn send(&self, arguments: Vec<Fred>) -> Result<Fred, fred::error::Error> {
        self.send_as(self.operation.command, arguments).await
    }

    async fn send_as(&self, command: &'static str, arguments: Vec<Fred>) -> Result<Fred, fred::error::Error> {
        let patience = self.patience().max(Duration::from_millis(1));
        self.dedicated.wire.call(command, arguments, patience).await
    }

    fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Ends the call: the connection's state, span and measurements; and turns fred's error into ours.
    fn finish(self, result: Result<Fred, fred::error::Error>) -> Result<Value, Error> {
        let result = match result {
            Ok(value) => Ok(Value::from_fred(value)),
            Err(error) => {
                if self.breaks(&error) {
                    self.dedicated.wire.close();
                    self.dedicated.common.doubt();
                }
                Err(Error::from_fred(&error, self.operation.name(), self.operation.changes))
            }
        };
        let observer = &self.dedicated.common.observer;
        let (took, error) = (self.start.elapsed(), result.as_ref().err());
        if self.held {
            observer.held(&self.operation, &self.span, took, error);
        } else {
            observer.ended(&self.operation, &self.span, took, error);
        }
        result
    }

    fn breaks(&self, error: &fred::error::Error) -> bool {
        use fred::error::ErrorKind as Kind;
        if let Some(code) = server_code(error.details()) {
            return ELSEWHERE.contains(&code);
        }
        is_lost(error) || error.kind() == &Kind::Auth || error.kind() == &Kind::Timeout && self.full
    }
}

// === arguments and replies ===

fn int(number: u64) -> Fred {
    Fred::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> Fred {
    Fred::Integer(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The entries in the reply of an XREAD of one stream: `[[key, entries]]`, or nothing.
fn entries_of_one(reply: Value) -> Result<Vec<StreamEntry>, Error> {
    if reply.is_nil() {
        return Ok(Vec::new());
    }
    let stream = reply.array()?.into_iter().next().unwrap_or(Value::Nil);
    stream.array()?.into_iter().nth(1).unwrap_or(Value::Nil).entries()
}

//! Dedicated connection to the node that holds a key, for blocking reads and for `WAIT`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value as Fred;
use fred::types::config::Server;
use tokio::time::Instant;
use tracing::Span;

use crate::command::{CORRECTIONS, eval_arguments, one_slot};
use crate::failure::Failure;
use crate::health::Common;
use crate::observe::Operation;
use crate::patience::patience;
use crate::reads::{optional_fields, range_arguments};
use crate::wire::Wire;
use crate::{Arg, Error, ErrorKind, Key, Script, StreamEntry, Valkey, Value};

/// Codes of a node that is not the key's primary, or no longer.
const ELSEWHERE: &[&str] = &["MOVED", "ASK", "READONLY", "REDIRECT", "UNBLOCKED", "MASTERDOWN", "CLUSTERDOWN"];

/// One TCP connection to the node that holds a key, made by [`Valkey::dedicate`].
///
/// **All replies come from this one connection.** It is never made again. It ends when it breaks, when a node that is not
/// the key's primary answers (MOVED, READONLY, UNBLOCKED and the like are not followed), or when a call gets no answer for
/// its whole patience. Every later call fails at once with [`ErrorKind::Unavailable`]: make another connection.
/// A written command is never written again.
///
/// **Calls go out in the order in which their futures are first polled**, and the server answers them in that order. A
/// call behind a blocking one waits too, out of its own patience. [`Dedicated::wait`] covers the writes of each
/// [`Dedicated::run`] that has returned; a run in flight may still load its script and send it again.
///
/// Each call has its own deadline: the command timeout plus the requested block time, and at most 90 % of the rest of the
/// request's [`deadline`](keyplane_deadline). A call that the request's deadline cuts short leaves the connection whole.
/// Cancel safe: a dropped call's reply is discarded when it comes.
///
/// The pool's breaker neither rejects these calls nor counts them.
///
/// All methods take `&self`; dropping the value closes the connection at once.
pub struct Dedicated {
    wire: Wire,
    server: Server,
    common: Arc<Common>,
}

/// Admitted call.
struct Call<'a> {
    dedicated: &'a Dedicated,
    operation: Operation,
    span: Span,
    start: Instant,
    /// End of the caller's wait.
    until: Instant,
    /// True if `until` is the call's own patience, not a request's deadline.
    full: bool,
    /// True if the call blocks on the server.
    held: bool,
}

// === impl Valkey ===

impl Valkey {
    /// Makes a [`Dedicated`] connection to the node that holds `key` now. Asks the cluster for that node if it is unknown,
    /// or if a dedicated connection found it wrong or unavailable.
    ///
    /// Takes at most the connect timeout, in a cluster twice that, and never more than the request's deadline leaves. Makes
    /// one attempt: after a [`retryable`](Error::retryable) failure, as in the middle of a failover, call it again after
    /// some 50 ms.
    ///
    /// Fails with [`ErrorKind::Unavailable`] if no connection can be made or no node serves the key, and with
    /// [`ErrorKind::Denied`] if the server rejects user or password. Cancel safe: a dropped attempt leaves no connection.
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
        if !endpoint.clustered {
            let rejecting = wire.reject_replicas(patience(common.command_timeout, operation)?).await;
            rejecting.map_err(|failure| Error::from_failure(&failure, operation, false))?;
        }
        Ok(Dedicated { wire, server, common })
    }
}

// === impl Dedicated ===

impl Dedicated {
    /// Waits for at most `block` until the stream has entries after the id `after` (`0` for all). Returns at most `count` of
    /// them, the oldest first; none when the time is over. O(entries returned).
    ///
    /// `block` has millisecond resolution; below one millisecond the call does not block. The server holds the connection
    /// meanwhile, and the call's deadline is `block` later. Fails as [`Dedicated`] describes; also with
    /// [`ErrorKind::Script`] if the key is no stream or `after` no id.
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
        // The server takes 0 for ever.
        if block >= Duration::from_millis(1) {
            arguments.extend([Fred::from_static_str("BLOCK"), millis(block)]);
        }
        arguments.push(Fred::from_static_str("STREAMS"));
        arguments.extend([Fred::String(stream.text().clone()), Fred::String(after.into())]);
        let result = call.send(arguments).await;
        entries_of_one(call.finish(result)?).map_err(|error| error.in_operation("XREAD"))
    }

    /// Reads like [`Valkey::xrange`], over this connection.
    pub async fn xrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let call = self.begin(Operation::read("XRANGE", key.feature().name()), Duration::ZERO)?;
        let result = call.send(range_arguments(key, from, to, count)).await;
        call.finish(result)?.entries().map_err(|error| error.in_operation("XRANGE"))
    }

    /// Reads like [`Valkey::hmget`], over this connection.
    ///
    /// Fails as [`Dedicated`] describes; also with [`ErrorKind::Script`] if the key is no hash or `fields` is empty.
    pub async fn hmget(&self, key: &Key, fields: &[&'static str]) -> Result<Vec<Option<Bytes>>, Error> {
        let call = self.begin(Operation::read("HMGET", key.feature().name()), Duration::ZERO)?;
        let mut arguments = Vec::with_capacity(1 + fields.len());
        arguments.push(Fred::String(key.text().clone()));
        arguments.extend(fields.iter().map(|field| Fred::from_static_str(field)));
        let result = call.send(arguments).await;
        optional_fields(call.finish(result)?)
    }

    /// Runs a script like [`Valkey::run`], over this connection: writes it at most once, loads it first if the node lacks it.
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
            if !matches!(&result, Err(failure) if failure.code() == Some("NOSCRIPT")) {
                break;
            }
            let loaded = call.send_as("SCRIPT", script.load_arguments()).await;
            if loaded.is_err() {
                // The script itself did not run.
                call.operation.changes = false;
                return call.finish(loaded);
            }
            result = call.send(arguments.clone()).await;
        }
        call.finish(result)
    }

    /// Waits for at most `within` (at least a millisecond) until `replicas` replicas have this connection's writes so far.
    /// Returns their number; fewer than `replicas` is no error.
    ///
    /// The server holds the connection meanwhile. A request's deadline shortens the wait. Fails as [`Dedicated`] describes,
    /// and with [`ErrorKind::Denied`] or [`ErrorKind::FeatureMissing`] without [`Need::Wait`](crate::Need::Wait). A replica
    /// acknowledges before its disk has the write, and need not be the one that a failover promotes.
    pub async fn wait(&self, replicas: u32, within: Duration) -> Result<u32, Error> {
        let call = self.begin(Operation::read("WAIT", "none"), within)?;
        let within = within.min(call.patience().mul_f64(0.9)).max(Duration::from_millis(1));
        let result = call.send(vec![Fred::Integer(i64::from(replicas)), millis(within)]).await;
        let count = call.finish(result)?.int().map_err(|error| error.in_operation("WAIT"))?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Reports whether the connection is broken for good. `false` promises nothing for the next call.
    pub fn is_broken(&self) -> bool {
        self.wire.is_broken()
    }

    /// Admits a call that may block on the server for `hold`.
    fn begin(&self, operation: Operation, hold: Duration) -> Result<Call<'_>, Error> {
        let span = self.common.observer.span(&operation);
        match self.admit(&operation, hold) {
            Ok((patience, full)) => {
                let start = Instant::now();
                let held = !hold.is_zero();
                Ok(Call { dedicated: self, operation, span, start, until: start + patience, full, held })
            }
            Err(error) => {
                self.common.observer.mark(&span, &error);
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
    async fn send(&self, arguments: Vec<Fred>) -> Result<Value, Failure> {
        self.send_as(self.operation.command, arguments).await
    }

    async fn send_as(&self, command: &'static str, arguments: Vec<Fred>) -> Result<Value, Failure> {
        let patience = self.patience().max(Duration::from_millis(1));
        self.dedicated.wire.call(command, arguments, patience).await
    }

    fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Ends the call: the connection's state, span and measurements.
    fn finish(self, result: Result<Value, Failure>) -> Result<Value, Error> {
        let result = result.map_err(|failure| {
            if self.breaks(&failure) {
                self.dedicated.wire.close();
                self.dedicated.common.doubt();
            }
            Error::from_failure(&failure, self.operation.name(), self.operation.changes)
        });
        let observer = &self.dedicated.common.observer;
        let (took, error) = (self.start.elapsed(), result.as_ref().err());
        if self.held {
            observer.held(&self.operation, &self.span, took, error);
        } else {
            observer.ended(&self.operation, &self.span, took, error);
        }
        result
    }

    /// Reports whether the failure ends the connection.
    fn breaks(&self, failure: &Failure) -> bool {
        let elsewhere = failure.code().is_some_and(|code| ELSEWHERE.contains(&code));
        elsewhere || failure.is_lost() || failure.is_timeout() && self.full
    }
}

// === arguments and replies ===

fn int(number: u64) -> Fred {
    Fred::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> Fred {
    Fred::Integer(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Entries in the reply of an XREAD of one stream: `[[key, entries]]`, or nil.
fn entries_of_one(reply: Value) -> Result<Vec<StreamEntry>, Error> {
    if reply.is_nil() {
        return Ok(Vec::new());
    }
    let stream = reply.array()?.into_iter().next().unwrap_or(Value::Nil);
    stream.array()?.into_iter().nth(1).unwrap_or(Value::Nil).entries()
}

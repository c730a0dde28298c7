//! How one call goes: admitted, sent, timed, judged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fred::bytes_utils::Str;
use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use fred::types::config::Options;
use fred::types::{ClusterHash, CustomCommand};
use tokio::time::Instant;
use tracing::Span;

use crate::error::{TOO_MANY_REDIRECTIONS, server_code};
use crate::lane::Lane;
use crate::observe::Operation;
use crate::{Arg, Error, ErrorKind, Key, Script, Valkey, Value, deadline};

/// How long a call waits for a connection that is being restored. A server that closes a connection now and then (load
/// balancing, a rolling update) is not an outage.
const GRACE: Duration = Duration::from_millis(100);
/// How often a script that surely did not run is sent again: a slot may have moved to a node that lacks the script.
pub(crate) const CORRECTIONS: u32 = 3;
/// A call that waited less than this says nothing about the server when it times out.
const TELLING: Duration = Duration::from_millis(100);

/// A call that was admitted.
pub(crate) struct Attempt<'a> {
    valkey: &'a Valkey,
    lane: &'a Lane,
    operation: Operation,
    span: Span,
    start: Instant,
    /// The moment at which the caller stops to wait.
    until: Instant,
    /// How long the last command was waited for.
    waited: Duration,
}

type FredResult = Result<fred::types::Value, fred::error::Error>;

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
        self.pool.clustered.then(|| fred::util::redis_keyslot(key.as_str().as_bytes()))
    }

    /// [`Valkey::run`] for a script that does several independent things in one call, and whose keys need not share a hash
    /// tag where one server has them all: they must be of one [`Valkey::place`].
    pub async fn run_together(&self, script: &'static Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value, Error> {
        let Some(first) = keys.first() else {
            return Err(Error::new(ErrorKind::Script, script.name(), "a script needs at least one key"));
        };
        debug_assert!(!self.pool.clustered || one_slot(keys), "the keys of {} must be of one place", script.name());
        let feature = first.feature().name();
        let operation = Operation { command: "EVALSHA", script: Some(script.name()), feature, changes: true };
        let mut attempt = self.begin(operation).await?;
        let slot = self.slot(first);
        let arguments = || eval_arguments(script.sha(), keys, args);
        let mut result = attempt.custom("EVALSHA", &slot, arguments()).await;
        for _ in 0..CORRECTIONS {
            let Err(error) = &result else { break };
            if server_code(error.details()) == Some("NOSCRIPT") {
                let load = vec!["LOAD".into(), fred::types::Value::from_static_str(script.source())];
                if let Err(error) = attempt.custom("SCRIPT", &slot, load).await {
                    return attempt.finish_unsent(error);
                }
            } else if error.details() != TOO_MANY_REDIRECTIONS {
                break;
            }
            if attempt.left().is_none() {
                return attempt.finish_unsent(timed_out());
            }
            result = attempt.custom("EVALSHA", &slot, arguments()).await;
        }
        attempt.finish(result).map(Value::from_fred)
    }

    /// Admits a call: there is time, the breaker lets it pass, and a connection is up.
    pub(crate) async fn begin(&self, operation: Operation) -> Result<Attempt<'_>, Error> {
        let span = self.pool.health.observer.span(&operation);
        match self.admit(&operation).await {
            Ok((lane, until)) => {
                let (start, waited) = (Instant::now(), Duration::ZERO);
                Ok(Attempt { valkey: self, lane, operation, span, start, until, waited })
            }
            Err(error) => {
                self.pool.health.observer.refused(&span, &error);
                Err(error)
            }
        }
    }

    async fn admit(&self, operation: &Operation) -> Result<(&Lane, Instant), Error> {
        let health = &self.pool.health;
        if health.closed.load(Ordering::Relaxed) {
            return Err(Error::closed(operation.name()));
        }
        let wait = deadline::wait(health.command_timeout).ok_or_else(|| Error::deadline_passed(operation.name()))?;
        health.breaker.admit().map_err(|left| Error::breaker_open(operation.name(), left))?;
        let until = Instant::now() + wait;
        if let Some(lane) = self.lane() {
            return Ok((lane, until));
        }
        let mut came_up = health.came_up.subscribe();
        let patience = until.min(Instant::now() + GRACE);
        while let Ok(Ok(())) = tokio::time::timeout_at(patience, came_up.changed()).await {
            if let Some(lane) = self.lane() {
                return Ok((lane, until));
            }
        }
        if let Some(lane) = self.lane() {
            return Ok((lane, until));
        }
        if health.failed() {
            self.suspect_all();
        }
        Err(self.not_connected(operation.name()))
    }

    /// The next connection in turn that is up.
    fn lane(&self) -> Option<&Lane> {
        let lanes = &self.pool.lanes;
        let first = self.pool.next.fetch_add(1, Ordering::Relaxed);
        (0..lanes.len()).map(|step| &lanes[first.wrapping_add(step) % lanes.len()]).find(|lane| lane.is_up())
    }

    fn suspect_all(&self) {
        for lane in &self.pool.lanes {
            lane.suspect();
        }
    }

    pub(crate) fn slot(&self, key: &Key) -> ClusterHash {
        if self.pool.clustered {
            ClusterHash::Custom(fred::util::redis_keyslot(key.as_str().as_bytes()))
        } else {
            ClusterHash::Random
        }
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    /// For a read: it may be sent again after a lost connection, and follows redirections.
    pub(crate) fn reader(&mut self) -> WithOptions<Client> {
        self.waited = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.lane.client().with_options(&Options {
            max_attempts: Some(3),
            max_redirections: Some(5),
            timeout: Some(self.waited),
            ..Options::default()
        })
    }

    /// Any command, written at most once and answered in the time that is left.
    pub(crate) async fn custom(
        &mut self,
        command: &'static str,
        slot: &ClusterHash,
        arguments: Vec<fred::types::Value>,
    ) -> FredResult {
        self.waited = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let options =
            Options { max_attempts: Some(1), timeout: Some(self.waited), fail_fast: true, ..Options::default() };
        let command = CustomCommand::new_static(command, slot.clone(), false);
        self.lane.client().with_options(&options).custom(command, arguments).await
    }

    /// What is left of the caller's patience, if a command is worth while still.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        (left >= Duration::from_millis(1)).then_some(left)
    }

    /// Ends the call: breaker, span and measurements; and turns fred's error into ours.
    pub(crate) fn finish(self, result: FredResult) -> Result<fred::types::Value, Error> {
        let error = match &result {
            Ok(_) => {
                self.valkey.pool.health.answered();
                None
            }
            Err(error) => {
                self.judge(error);
                Some(Error::from_fred(error, self.operation.name(), self.operation.changes))
            }
        };
        let observer = &self.valkey.pool.health.observer;
        observer.ended(&self.operation, &self.span, self.start.elapsed(), error.as_ref());
        match (result, error) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(Error::from_fred(&error, self.operation.name(), self.operation.changes)),
        }
    }

    /// Ends a call of which only harmless parts were sent.
    fn finish_unsent<T>(mut self, error: fred::error::Error) -> Result<T, Error> {
        self.operation.changes = false;
        match self.finish(Err(error)) {
            Err(error) => Err(error),
            Ok(_) => Err(Error::not_connected("")),
        }
    }

    /// What a failure says about the connection.
    fn judge(&self, error: &fred::error::Error) {
        use fred::error::ErrorKind as Fred;
        let health = &self.valkey.pool.health;
        if let Some(code) = server_code(error.details()) {
            health.answered();
            if code == "READONLY" || code == "REDIRECT" {
                self.lane.replace();
            }
            return;
        }
        let telling = match error.kind() {
            Fred::Timeout => self.waited >= TELLING.min(health.command_timeout),
            Fred::IO | Fred::Unknown | Fred::Protocol | Fred::Tls | Fred::Canceled | Fred::Routing => {
                error.details() != TOO_MANY_REDIRECTIONS
            }
            Fred::Config
            | Fred::Auth
            | Fred::InvalidCommand
            | Fred::InvalidArgument
            | Fred::Url
            | Fred::Cluster
            | Fred::Parse
            | Fred::Sentinel
            | Fred::NotFound
            | Fred::Backpressure => false,
        };
        if telling && health.failed() {
            self.valkey.suspect_all();
        }
    }
}

pub(crate) fn eval_arguments(sha: Str, keys: &[&Key], args: &[Arg<'_>]) -> Vec<fred::types::Value> {
    let mut arguments = Vec::with_capacity(2 + keys.len() + args.len());
    arguments.push(fred::types::Value::String(sha));
    arguments.push(fred::types::Value::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX)));
    arguments.extend(keys.iter().map(|key| fred::types::Value::String(key.text().clone())));
    arguments.extend(args.iter().map(|arg| arg.to_fred()));
    arguments
}

pub(crate) fn one_slot(keys: &[&Key]) -> bool {
    let mut slots = keys.iter().map(|key| fred::util::redis_keyslot(key.as_str().as_bytes()));
    let first = slots.next();
    slots.all(|slot| Some(slot) == first)
}

fn timed_out() -> fred::error::Error {
    fred::error::Error::new(fred::error::ErrorKind::Timeout, "Request timed out.")
}

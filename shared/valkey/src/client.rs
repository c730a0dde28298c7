//! The handle that services hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface, StreamsInterface};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::lane::{Health, Lane, Role};
use crate::observe::{Observer, Operation};
use crate::topology::Topology;
use crate::url::Endpoint;
use crate::{App, Doorbells, Error, ErrorKind, Feature, Key, Settings, SettingsError, StreamEntry, Value};

/// A pool of connections to one Valkey server or cluster. Clones share it; dropping the last one closes it.
///
/// Every call may fail as [`Error`] describes. Dropping the future of a call is safe at any point: the command may
/// still run on the server.
#[derive(Clone)]
pub struct Valkey {
    pub(crate) pool: Arc<Pool>,
}

pub(crate) struct Pool {
    app: App,
    pub(crate) endpoint: Endpoint,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) next: AtomicUsize,
    pub(crate) health: Arc<Health>,
    pub(crate) clustered: bool,
    /// Of a cluster: who owns what, for connections of their own.
    pub(crate) topology: Option<Arc<Topology>>,
}

// === impl Valkey ===

impl Valkey {
    /// Checks the settings, starts to connect in the background, and returns at once. The connections are restored for
    /// ever. Must be called within a tokio runtime, and after telemetry is set up.
    pub fn connect(settings: &Settings, app: App) -> Result<Valkey, SettingsError> {
        let endpoint = Endpoint::new(settings)?;
        let health = Arc::new(Health {
            breaker: Breaker::new(settings.breaker),
            observer: Observer::new(endpoint.host.clone(), endpoint.port),
            closed: AtomicBool::new(false),
            denied: AtomicBool::new(false),
            came_up: watch::Sender::new(()),
            command_timeout: settings.command_timeout,
        });
        let lanes =
            (0..settings.connections).map(|_| Lane::start(endpoint.client(), health.clone(), Role::Commands)).collect();
        let clustered = endpoint.config.server.is_clustered();
        let topology = clustered.then(|| Arc::new(Topology::new()));
        let next = AtomicUsize::new(0);
        Ok(Valkey { pool: Arc::new(Pool { app, endpoint, lanes, next, health, clustered, topology }) })
    }

    /// Waits until the server answers a ping, at most `within`; then gives the last reason why it did not.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        let mut came_up = self.pool.health.came_up.subscribe();
        loop {
            let error = match self.ping().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // Beside a connection that comes up, time is a reason to look again: the breaker may just have closed.
            let again = Instant::now() + Duration::from_millis(100);
            if again > until || self.pool.health.closed.load(Ordering::Relaxed) {
                return Err(error);
            }
            // The sender lives in the pool; an error can't come, and would only mean to look again.
            let _ = tokio::time::timeout_at(again, came_up.changed()).await;
        }
    }

    /// Asks the server for a sign of life, under the same rules as any call.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut attempt = self.begin(Operation::read("PING", "none")).await?;
        let result = attempt.reader().ping::<fred::types::Value>(None).await;
        attempt.finish(result).map(|_| ())
    }

    /// The application whose keys this handle serves.
    pub fn app(&self) -> &App {
        &self.pool.app
    }

    /// Whether it is a cluster, by its URL.
    pub fn is_cluster(&self) -> bool {
        self.pool.clustered
    }

    /// All fields of a hash, in no particular order; empty when there is no such key.
    pub async fn hgetall(&self, key: &Key) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut attempt = self.begin(Operation::read("HGETALL", key.feature().name())).await?;
        let result = attempt.reader().hgetall::<fred::types::Value, _>(key.text().clone()).await;
        Value::from_fred(attempt.finish(result)?).pairs().map_err(|error| error.in_operation("HGETALL"))
    }

    /// Some fields of a hash, in the order of `fields`; none for a field that is not there.
    pub async fn hmget(&self, key: &Key, fields: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut attempt = self.begin(Operation::read("HMGET", key.feature().name())).await?;
        let names: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let result = attempt.reader().hmget::<fred::types::Value, _, _>(key.text().clone(), names).await;
        let values = Value::from_fred(attempt.finish(result)?).array();
        let decode = |value: Value| if value.is_nil() { Ok(None) } else { value.bytes().map(Some) };
        let values = values.and_then(|values| values.into_iter().map(decode).collect());
        values.map_err(|error| error.in_operation("HMGET"))
    }

    /// The text under a key.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let mut attempt = self.begin(Operation::read("GET", key.feature().name())).await?;
        let result = attempt.reader().get::<fred::types::Value, _>(key.text().clone()).await;
        match Value::from_fred(attempt.finish(result)?) {
            Value::Nil => Ok(None),
            other @ (Value::Int(_) | Value::Bytes(_) | Value::Array(_)) => {
                other.bytes().map(Some).map_err(|error| error.in_operation("GET"))
            }
        }
    }

    /// At most `count` entries of a stream between the ids `from` and `to`, both included; `-` and `+` are its ends and
    /// `(` before an id leaves that one out.
    pub async fn xrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let mut attempt = self.begin(Operation::read("XRANGE", key.feature().name())).await?;
        let result = attempt
            .reader()
            .xrange::<fred::types::Value, _, _, _>(key.text().clone(), from.to_owned(), to.to_owned(), Some(count))
            .await;
        Value::from_fred(attempt.finish(result)?).entries().map_err(|error| error.in_operation("XRANGE"))
    }

    /// At most `count` entries of a stream between the ids `from` and `to`, both included, the newest first. `+` and `-`
    /// are its ends and `(` before an id leaves that one out.
    pub async fn xrevrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let mut attempt = self.begin(Operation::read("XREVRANGE", key.feature().name())).await?;
        let result = attempt
            .reader()
            .xrevrange::<fred::types::Value, _, _, _>(key.text().clone(), from.to_owned(), to.to_owned(), Some(count))
            .await;
        Value::from_fred(attempt.finish(result)?).entries().map_err(|error| error.in_operation("XREVRANGE"))
    }

    /// The doorbells of a feature. Each call makes a set with a connection of its own: make one and clone it.
    pub fn doorbells(&self, feature: Feature) -> Doorbells {
        Doorbells::new(&self.pool.app, feature, self.pool.endpoint.clone(), self.pool.health.clone())
    }

    /// Lets calls in flight finish, at most for the command timeout, and closes the connections. Calls that come later
    /// fail with [`ErrorKind::Unavailable`].
    pub async fn close(&self) {
        self.pool.health.closed.store(true, Ordering::Relaxed);
        let quits = self.pool.lanes.iter().map(|lane| lane.client().quit());
        let bound = self.pool.health.command_timeout;
        if tokio::time::timeout(bound, futures::future::join_all(quits)).await.is_err() {
            tracing::debug!("the store did not say goodbye in time");
        }
    }

    /// The error for a call that found no connection.
    pub(crate) fn not_connected(&self, operation: &'static str) -> Error {
        if self.pool.health.denied.load(Ordering::Relaxed) {
            return Error::new(ErrorKind::Denied, operation, "the store refused the user or password");
        }
        Error::not_connected(operation)
    }
}

impl fmt::Debug for Valkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Valkey")
            .field("app", &self.pool.app.as_str())
            .field("host", &self.pool.endpoint.host)
            .field("port", &self.pool.endpoint.port)
            .finish_non_exhaustive()
    }
}

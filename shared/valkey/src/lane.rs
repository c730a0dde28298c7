//! One lane of a node: a task that keeps a good connection in place.
//!
//! fred does not notice a server that takes commands and never answers while others keep writing to it. A full socket
//! buffer blocks its task for many minutes. The supervisor probes each connection with a read, as calls do. It replaces a
//! connection that does not answer, and one that answers late while a new one is prompt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fred::types::Value as Fred;
use fred::types::config::Server;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::health::{Common, Health};
use crate::watchdog::{HEARTBEAT, Watchdog};
use crate::wire::{AbortOnDrop, Wire};
use crate::{Error, ErrorKind};

/// Place for one connection. Dropping it closes the connection at once.
pub(crate) struct Lane {
    state: Arc<State>,
    _supervisor: AbortOnDrop<()>,
}

#[derive(Default)]
struct State {
    /// Current connection. Calls hold theirs too: a replaced one closes after their replies.
    wire: ArcSwapOption<Wire>,
    /// Asks the supervisor for a probe now.
    suspect: Notify,
    /// Asks the supervisor for another connection.
    replace: Notify,
}

struct Supervisor {
    endpoint: Arc<Endpoint>,
    server: Server,
    health: Arc<Health>,
    state: Arc<State>,
}

// === impl Lane ===

impl Lane {
    /// Starts to connect. Needs a tokio runtime.
    pub(crate) fn start(endpoint: Arc<Endpoint>, server: Server, health: Arc<Health>) -> Lane {
        let state = Arc::new(State::default());
        let supervisor = Supervisor { endpoint, server, health, state: state.clone() };
        Lane { state, _supervisor: AbortOnDrop(tokio::spawn(supervisor.run())) }
    }

    /// Current connection; `None` once it is known to be broken.
    pub(crate) fn wire(&self) -> Option<Arc<Wire>> {
        self.state.wire.load_full().filter(|wire| !wire.is_broken())
    }

    /// Probes the connection now rather than at the next heartbeat.
    pub(crate) fn suspect(&self) {
        self.state.suspect.notify_one();
    }

    /// Replaces the connection; resolves the host name again.
    pub(crate) fn replace(&self) {
        self.state.replace.notify_one();
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(self) {
        let (mut backoff, mut better) = (Backoff::new(), None);
        let (mut first, mut reported, mut watchdog) = (true, false, Watchdog::new());
        while !self.health.common.is_closed() {
            let wire = match better.take() {
                Some(wire) => Ok(wire),
                None => self.connect().await,
            };
            match wire {
                Ok(wire) => {
                    if !std::mem::take(&mut first) {
                        self.health.common.observer.reconnected();
                    }
                    let (wire, born) = (Arc::new(wire), Instant::now());
                    self.raise(wire.clone());
                    better = self.live(&wire, born, &mut watchdog).await;
                    if better.is_none() {
                        self.state.wire.store(None);
                        watchdog = Watchdog::new();
                    }
                    reported = false;
                    if born.elapsed() > HEARTBEAT {
                        backoff.reset();
                        continue;
                    }
                }
                Err(error) => self.report(&error, &mut reported),
            }
            backoff.wait().await;
        }
        self.state.wire.store(None);
    }

    async fn connect(&self) -> Result<Wire, Error> {
        let within = self.endpoint.connection.connection_timeout;
        let wire = Wire::connect(&self.endpoint, self.server.clone(), within).await?;
        if self.endpoint.clustered {
            return Ok(wire);
        }
        let rejecting = wire.reject_replicas(self.health.common.command_timeout).await;
        rejecting.map(|()| wire).map_err(|failure| Error::from_failure(&failure, "CLIENT CAPA", false))
    }

    /// Hands the connection to callers.
    fn raise(&self, wire: Arc<Wire>) {
        self.state.wire.store(Some(wire));
        self.health.denied.store(false, Ordering::Relaxed);
        self.health.answered();
        self.health.common.changed.send_replace(());
        tracing::debug!(node = self.health.node(), "connected to the store");
    }

    /// Watches the connection until it breaks or needs a replacement; returns the replacement, if it is made already.
    async fn live(&self, wire: &Wire, born: Instant, watchdog: &mut Watchdog) -> Option<Wire> {
        let node = self.health.node();
        let mut misses = 0;
        while !self.health.common.is_closed() {
            let urgent = tokio::select! {
                () = wire.broken() => {
                    self.health.common.doubt();
                    if !self.health.common.is_closed() {
                        tracing::warn!(node, "lost the connection to the store, reconnecting for ever");
                    }
                    return None;
                }
                () = self.state.replace.notified() => {
                    self.health.common.doubt();
                    if born.elapsed() > HEARTBEAT {
                        return None;
                    }
                    continue;
                }
                () = self.state.suspect.notified() => true,
                () = tokio::time::sleep(watchdog.pause(Instant::now())) => false,
            };
            let common = &self.health.common;
            match probe(wire, common).await {
                Some(took) => {
                    misses = 0;
                    self.health.answered();
                    if watchdog.suspects(took, Instant::now()) {
                        let new = self.connect().await.ok();
                        let fresh = async { probe(new.as_ref()?, common).await };
                        let (old, fresh) = tokio::join!(probe(wire, common), fresh);
                        if watchdog.decides(old, fresh, Instant::now()) {
                            common.observer.late();
                            tracing::warn!(
                                node,
                                ?took,
                                "a connection to the store answers late, a new one takes its place"
                            );
                            return new;
                        }
                    }
                }
                None if wire.is_broken() => {}
                None => {
                    misses += 1;
                    self.health.failed();
                    if urgent || misses > 1 {
                        tracing::warn!(node, "a connection to the store does not answer, making another");
                        wire.close();
                        common.doubt();
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Logs one line for each outage, not for each attempt.
    fn report(&self, error: &Error, reported: &mut bool) {
        self.health.denied.store(error.kind() == ErrorKind::Denied, Ordering::Relaxed);
        let (node, reason) = (self.health.node(), error.kind().as_str());
        if std::mem::replace(reported, true) {
            tracing::debug!(node, reason, "no connection to the store");
        } else {
            tracing::warn!(node, reason, "no connection to the store, trying for ever");
        }
    }
}

/// Time that a connection takes to answer a read of a key of ours, as calls do; `None` if it does not answer in time. A
/// server's error is an answer: another node may have the key.
pub(crate) async fn probe(wire: &Wire, common: &Common) -> Option<Duration> {
    let start = Instant::now();
    let reply = match common.probe.get() {
        Some(key) => wire.call("GET", vec![Fred::String(key.text().clone())], common.command_timeout).await,
        None => wire.call("PING", Vec::new(), common.command_timeout).await,
    };
    match reply {
        Err(failure) if !failure.is_answer() => None,
        Ok(_) | Err(_) => Some(start.elapsed()),
    }
}

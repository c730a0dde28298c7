//! One connection of the pool (to each node of a cluster) and the task that keeps it alive.
//!
//! fred reconnects by itself when it notices that a connection is gone. It does not notice a server that takes commands
//! and never answers while others keep writing to it, and a full socket buffer blocks its task for many minutes. So the
//! supervisor pings, and a connection that does not answer is thrown away whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::doorbell::Registry;
use crate::error::server_code;
use crate::observe::Observer;

/// Between two pings of a connection that seems well.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two looks at a connection that is being made.
const SETTLE: Duration = Duration::from_millis(20);
/// After fred gave up, which it does for a wrong configuration only.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// What all connections of one `Valkey` share.
pub(crate) struct Health {
    pub(crate) breaker: Breaker,
    pub(crate) observer: Observer,
    pub(crate) closed: AtomicBool,
    /// The server refused user or password last time.
    pub(crate) denied: AtomicBool,
    /// Changes whenever a connection comes up.
    pub(crate) came_up: watch::Sender<()>,
    pub(crate) command_timeout: Duration,
}

/// One connection. Dropping it closes it at once.
pub(crate) struct Lane {
    client: Client,
    state: Arc<State>,
    _supervisor: AbortOnDrop<()>,
}

/// What a connection is for.
pub(crate) enum Role {
    Commands,
    Bells(Arc<Registry>),
}

#[derive(Default)]
struct State {
    /// Set between the first answer of a new connection and the moment when it is thrown away.
    up: AtomicBool,
    /// Asks the supervisor for a ping now.
    suspect: Notify,
    /// Asks the supervisor for another connection.
    replace: Notify,
}

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

struct Supervisor {
    client: Client,
    health: Arc<Health>,
    role: Role,
    state: Arc<State>,
}

// === impl Lane ===

impl Lane {
    /// Starts to connect. Needs a tokio runtime.
    pub(crate) fn start(client: Client, health: Arc<Health>, role: Role) -> Lane {
        let state = Arc::new(State::default());
        let supervisor = Supervisor { client: client.clone(), health, role, state: state.clone() };
        Lane { client, state, _supervisor: AbortOnDrop(tokio::spawn(supervisor.run())) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a command that is sent now goes to a live connection, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Relaxed) && self.client.is_connected()
    }

    /// Has the connection checked now rather than at the next heartbeat.
    pub(crate) fn suspect(&self) {
        self.state.suspect.notify_one();
    }

    /// Has another connection made, with the name resolved anew.
    pub(crate) fn replace(&self) {
        self.state.replace.notify_one();
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn answered(&self) {
        if self.breaker.answered() {
            self.observer.breaker(self.breaker.state());
            tracing::info!("the store answers again");
        }
    }

    /// Returns whether the breaker opened just now.
    pub(crate) fn failed(&self) -> bool {
        let opened = self.breaker.failed();
        if opened {
            self.observer.breaker(self.breaker.state());
            tracing::warn!("the store does not answer, calls fail at once until it does");
        }
        opened
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(self) {
        loop {
            let replaced = self.live_once().await;
            self.state.up.store(false, Ordering::Relaxed);
            if self.health.closed.load(Ordering::Relaxed) {
                return;
            }
            if !replaced {
                tokio::time::sleep(GIVEN_UP).await;
            }
        }
    }

    /// Until the connection has to be thrown away (`true`) or fred gave up (`false`).
    async fn live_once(&self) -> bool {
        let mut driver = AbortOnDrop(self.client.connect());
        let mut connects = self.client.reconnect_rx();
        let mut errors = self.client.error_rx();
        let born = Instant::now();
        let (mut answered, mut misses, mut reported) = (false, 0, false);
        loop {
            let connected = answered && self.client.is_connected();
            if connected && !self.state.up.load(Ordering::Relaxed) {
                if !self.greet().await {
                    return true;
                }
                reported = false;
            }
            let urgent = tokio::select! {
                _ = &mut driver.0 => {
                    if !self.health.closed.load(Ordering::Relaxed) {
                        tracing::error!("the store can't be used as configured, is it a cluster or not as the url says");
                    }
                    return false;
                }
                Ok(_) = connects.recv() => {
                    if answered {
                        self.health.observer.reconnected();
                        // A server that came back has forgotten its subscribers.
                        self.state.up.store(false, Ordering::Relaxed);
                    }
                    answered = true;
                    continue;
                }
                Ok((error, _)) = errors.recv() => {
                    self.report(&error, &mut reported);
                    continue;
                }
                () = self.state.replace.notified() => {
                    if born.elapsed() > HEARTBEAT {
                        return true;
                    }
                    continue;
                }
                () = self.state.suspect.notified() => true,
                () = tokio::time::sleep(if connected { HEARTBEAT } else { SETTLE }) => false,
            };
            if !connected {
                continue;
            }
            if self.beat().await {
                misses = 0;
            } else {
                misses += 1;
                self.health.failed();
                if urgent || misses > 1 {
                    tracing::warn!("a connection to the store does not answer, making another");
                    return true;
                }
            }
        }
    }

    /// What a new connection starts with.
    async fn greet(&self) -> bool {
        if let Role::Bells(registry) = &self.role
            && !registry.subscribe(&self.client, self.health.command_timeout).await
        {
            return false;
        }
        if matches!(self.role, Role::Commands) && !self.client.is_clustered() && !self.refuse_replicas().await {
            return false;
        }
        self.state.up.store(true, Ordering::Relaxed);
        self.health.denied.store(false, Ordering::Relaxed);
        self.health.answered();
        self.health.came_up.send_replace(());
        tracing::debug!("connected to the store");
        true
    }

    /// Asks the server to answer REDIRECT, rather than from what it has, should it be or become a replica: its data may be
    /// old. Engines before Valkey 8 don't know that. Returns whether the connection lives.
    async fn refuse_replicas(&self) -> bool {
        let client = self.client.with_options(&ping_options(self.health.command_timeout));
        let command = CustomCommand::new_static("CLIENT", ClusterHash::Random, false);
        match client.custom::<fred::types::Value, _>(command, vec!["CAPA", "redirect"]).await {
            Ok(_) => true,
            Err(error) => server_code(error.details()).is_some() || !self.client.is_connected(),
        }
    }

    /// Whether every node answers a ping in time.
    async fn beat(&self) -> bool {
        let alive = match &self.role {
            Role::Commands if self.client.is_clustered() => {
                let nodes = self.client.active_connections();
                let pings = nodes.into_iter().map(|node| self.ping(Some(node)));
                futures::future::join_all(pings).await.into_iter().all(|alive| alive)
            }
            Role::Commands => self.ping(None).await,
            Role::Bells(registry) => registry.still_subscribed(&self.client, self.health.command_timeout).await,
        };
        if alive {
            self.health.answered();
        }
        alive
    }

    async fn ping(&self, cluster_node: Option<Server>) -> bool {
        let options = Options { cluster_node, ..ping_options(self.health.command_timeout) };
        match self.client.with_options(&options).ping::<fred::types::Value>(None).await {
            Ok(_) => true,
            // An error that the server answers is an answer; a connection that fred is restoring is not ours to judge.
            Err(error) => server_code(error.details()).is_some() || !self.client.is_connected(),
        }
    }

    /// One line for each outage, not for each attempt.
    fn report(&self, error: &fred::error::Error, reported: &mut bool) {
        let denied = matches!(error.kind(), fred::error::ErrorKind::Auth);
        self.health.denied.store(denied, Ordering::Relaxed);
        if *reported {
            tracing::debug!(reason = error.kind().to_str(), "no connection to the store");
        } else {
            *reported = true;
            tracing::warn!(reason = error.kind().to_str(), "lost the connection to the store, reconnecting for ever");
        }
    }
}

// === impl AbortOnDrop ===

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn ping_options(timeout: Duration) -> Options {
    Options { timeout: Some(timeout), max_attempts: Some(1), fail_fast: true, ..Options::default() }
}

/// The node that fred sends the subscriptions of a client to.
pub(crate) fn subscriber_node(client: &Client) -> ClusterHash {
    ClusterHash::Custom(fred::util::redis_keyslot(client.id().as_bytes()))
}

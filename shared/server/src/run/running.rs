//! Running service: its addresses, its signals, its drain.

use std::net::SocketAddr;
use std::time::Duration;

use keyplane_valkey::Valkey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::drain::Drain;
use super::error::Error;
use super::health::{Health, State};
use crate::config::DrainTimes;

/// Longest wait for connections that are closed by force.
const FORCE_WITHIN: Duration = Duration::from_secs(1);

/// Running service. Dropping it leaves its tasks running until the runtime ends.
#[must_use]
pub struct Running {
    pub(super) grpc_addr: SocketAddr,
    pub(super) admin_addr: SocketAddr,
    pub(super) health_addr: Option<SocketAddr>,
    pub(super) grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    /// Sets the state of `health` until the drain does.
    pub(super) readiness: JoinHandle<()>,
    /// Tasks of the admin port and the health port: aborted last, without a wait.
    pub(super) aside: Vec<JoinHandle<()>>,
    pub(super) fatal: watch::Receiver<Option<String>>,
    pub(super) health: Health,
    pub(super) store: Valkey,
    pub(super) drain: Drain,
    pub(super) force: CancellationToken,
    pub(super) times: DrainTimes,
}

/// Signals that end a process. From [`Signals::listen`] on they no longer kill it.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
}

// === impl Running ===

impl Running {
    /// Returns the address of gRPC; the real port for port 0.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Returns the address of the admin port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Returns the address of health alone, if it is served.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// Runs until SIGTERM or SIGINT, then drains. A second signal ends the drain at once.
    ///
    /// # Errors
    ///
    /// Fails if the store holds another layout, the gRPC server ended by itself, or a second signal came.
    pub async fn wait(self) -> Result<(), Error> {
        self.wait_for(Signals::listen()?).await
    }

    /// Runs as [`Running::wait`] does, for signals that were listened for since before the start.
    pub(crate) async fn wait_for(mut self, mut signals: Signals) -> Result<(), Error> {
        let ended = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "shutting down");
                None
            }
            Ok(fatal) = self.fatal.wait_for(Option::is_some) => Some(Error::Layout(fatal.clone().unwrap_or_default())),
            result = &mut self.grpc => Some(Error::Ended(match result {
                Ok(Ok(())) => "without a reason".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })),
        };
        if let Some(error) = ended {
            return Err(error);
        }
        tokio::select! {
            () = self.drain_and_stop() => Ok(()),
            _ = signals.next() => Err(Error::Interrupted),
        }
    }

    /// Drains and stops. Health reports NOT_SERVING, and load balancers get a pause; then connections get GOAWAY, and watch
    /// streams end. Calls in flight get a bounded wait, and force for the rest; the store closes last.
    ///
    /// Takes at most the drain's delay and timeout and a second. Not cancel safe: dropping it half-way leaves
    /// connections open.
    pub async fn drain_and_stop(mut self) {
        // Waited for, else it could still report "serving" after us.
        self.readiness.abort();
        let _ = (&mut self.readiness).await;
        self.health.set(State::Draining).await;
        tokio::time::sleep(self.times.delay).await;
        self.drain.start();
        if timeout(self.times.timeout, &mut self.grpc).await.is_err() {
            tracing::warn!("calls still in flight after the drain timeout, closing their connections");
            self.force.cancel();
            if timeout(FORCE_WITHIN, &mut self.grpc).await.is_err() {
                self.grpc.abort();
            }
        }
        for task in &self.aside {
            task.abort();
        }
        self.store.close().await;
        tracing::info!("stopped");
    }
}

// === impl Signals ===

impl Signals {
    pub(crate) fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::Service(Box::new(error)));
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

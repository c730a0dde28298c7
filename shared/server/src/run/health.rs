//! Health over gRPC: the state of the process, and the names that report it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Gauge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// Name in gRPC health by which gateways prefer instances that answer in full.
const ANSWERING: &str = "answering";

/// State of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Starts; waits for this.
    Starting(&'static str),
    Ready,
    /// Ready, though part of the store's cluster is unreachable; calls for other keys succeed.
    ReadyInPart(String),
    NotReady(String),
    Draining,
}

/// Sets the state, and through it what gRPC health and `/readyz` answer.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    services: &'static [&'static str],
    state: Arc<watch::Sender<State>>,
    ready: Gauge<i64>,
    answering: Arc<AtomicBool>,
    answers: Gauge<i64>,
}

// === impl Health ===

impl Health {
    /// Starts with NOT_SERVING, but for `liveness`, which reports that the process runs and nothing else.
    pub(crate) async fn new(services: &'static [&'static str]) -> (Self, HealthServer<impl HealthApi>) {
        let (reporter, server) = health_reporter();
        reporter.set_service_status("liveness", ServingStatus::Serving).await;
        let ready = metrics::gauge(semconv::KEYPLANE_SERVER_READY, "1", "Whether the process reports itself ready");
        let what = "Whether gateways prefer this process";
        let answers = metrics::gauge(semconv::KEYPLANE_SERVER_ANSWERING, "1", what);
        let state = Arc::new(watch::Sender::new(State::Starting("the store has not answered yet")));
        let health = Self { reporter, services, state, ready, answering: Arc::default(), answers };
        health.report(ServingStatus::NotServing).await;
        health.report_answering(false).await;
        (health, server)
    }

    /// Subscribes to the state.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Moves to `next`. Draining is final.
    pub(crate) async fn set(&self, next: State) {
        let serving = next.is_ready();
        let was = self.state.borrow().clone();
        let changed = self.state.send_if_modified(|state| {
            let moves = *state != State::Draining && *state != next;
            if moves {
                state.clone_from(&next);
            }
            moves
        });
        if !changed {
            return;
        }
        match &next {
            State::Starting(_) | State::Ready | State::Draining => tracing::info!(state = %next, "readiness changed"),
            State::ReadyInPart(reason) => tracing::warn!(reason, "ready in part"),
            // The reason may change while the state doesn't: logged once.
            State::NotReady(_) if matches!(was, State::NotReady(_)) => {}
            State::NotReady(reason) => tracing::warn!(reason, "not ready"),
        }
        if serving || was.is_ready() || next == State::Draining {
            self.report(if serving { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        }
        if !serving {
            self.set_answering(false).await;
        }
    }

    /// Reports that calls should come here if `well`, while the process is ready.
    pub(crate) async fn set_answering(&self, well: bool) {
        let ready = self.state.borrow().is_ready();
        let answering = well && ready;
        if self.answering.swap(answering, Ordering::SeqCst) == answering {
            return;
        }
        match answering {
            true => tracing::info!("this instance answers in full"),
            false if ready => tracing::warn!("the store does not answer; gateways prefer other instances"),
            false => {}
        }
        self.report_answering(answering).await;
    }

    async fn report_answering(&self, answering: bool) {
        self.answers.record(i64::from(answering), &[]);
        let status = if answering { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(ANSWERING, status).await;
    }

    async fn report(&self, status: ServingStatus) {
        self.ready.record(i64::from(status == ServingStatus::Serving), &[]);
        for service in ["", "readiness"].iter().chain(self.services) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

// === impl State ===

impl State {
    /// Reports whether calls are wanted.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, State::Ready | State::ReadyInPart(_))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Starting(what) => write!(f, "starting: {what}"),
            State::Ready => f.write_str("ready"),
            State::ReadyInPart(reason) => write!(f, "ready in part: {reason}"),
            State::NotReady(reason) => write!(f, "not ready: {reason}"),
            State::Draining => f.write_str("draining: the process shuts down"),
        }
    }
}

/// Serves health alone, without layers, for probes that can't do TLS.
pub(crate) async fn serve(listener: TcpListener, health: HealthServer<impl HealthApi>) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    if let Err(error) = Server::builder().add_service(health).serve_with_incoming(incoming).await {
        tracing::error!(%error, "health port ended");
    }
}

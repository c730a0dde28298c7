//! Health over gRPC, and the task that keeps it true.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use keyplane_telemetry::{metrics, semconv};
use keyplane_valkey::{ErrorKind, Valkey};
use opentelemetry::metrics::Gauge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use super::answering::{self, ANSWERING, Alone, Own};
use crate::errors;
use crate::layers::gate::Gate;

/// Time between two looks at the store.
const PERIOD: Duration = Duration::from_millis(500);
/// Failures in a row that make a ready process unready; a single lost ping must not take it out.
const FAILURES: u32 = 2;

/// A check that must pass once before the process is ready: what the store can do, which layout it holds.
pub type StartCheck = Box<dyn Fn() -> BoxFuture<'static, Result<(), keyplane_valkey::Error>> + Send + Sync>;

/// When a process calls itself ready.
pub enum Readiness {
    /// While the store answers; of a cluster, while one primary does.
    FollowsStore,
    /// Once the check has passed, while the store answers: see [`Readiness::follows_store`].
    FollowsStoreAfter(StartCheck),
    /// When the service says so. Calls are let in from the start, without any check, and the store plays no part.
    Own(watch::Receiver<bool>),
    /// Calls are let in once the check has passed, and from then on the process is ready when the service says so: for a
    /// service that answers without the store, but must never touch a store of another layout. The check is repeated, and
    /// a layout mismatch ends the process, as with [`Readiness::follows_store`].
    OwnAfter(StartCheck, Own),
}

/// What the process says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not ready for the first time yet; waits for this.
    Starting(&'static str),
    Ready,
    /// Part of the store's cluster is out of reach; calls for the rest of the keys are well.
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
    /// Everything starts NOT_SERVING, but for `liveness`, which says that the process runs and nothing else.
    pub(crate) async fn new(services: &'static [&'static str]) -> (Self, HealthServer<impl HealthApi>) {
        let (reporter, server) = health_reporter();
        reporter.set_service_status("liveness", ServingStatus::Serving).await;
        let ready = metrics::gauge(semconv::KEYPLANE_SERVER_READY, "1", "Whether the process reports itself ready");
        let what = "Whether calls should come to this process rather than to another";
        let answers = metrics::gauge(semconv::KEYPLANE_SERVER_ANSWERING, "1", what);
        let state = Arc::new(watch::Sender::new(State::Starting("the store has not answered yet")));
        let health = Self { reporter, services, state, ready, answering: Arc::default(), answers };
        health.report(ServingStatus::NotServing).await;
        health.report_answering(false).await;
        (health, server)
    }

    /// The state, now and as it changes.
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
            // The reason may change while the state doesn't: said once.
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

    /// Says whether calls should come here: if `well`, and while the process is ready.
    pub(crate) async fn set_answering(&self, well: bool) {
        let ready = self.state.borrow().is_ready();
        let answering = well && ready;
        if self.answering.swap(answering, Ordering::SeqCst) == answering {
            return;
        }
        match answering {
            true => tracing::info!("this instance answers in full"),
            false if ready => tracing::warn!("the store does not answer, gateways are told to prefer other instances"),
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
    /// Whether calls are wanted.
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

// === impl Readiness ===

impl Readiness {
    /// Ready once `check` has passed, while the store answers. The check is repeated until it passes; an error of kind
    /// [`ErrorKind::Layout`] ends the process instead, since waiting won't mend it.
    pub fn follows_store<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), keyplane_valkey::Error>> + Send + 'static,
    {
        Self::FollowsStoreAfter(Box::new(move || Box::pin(check())))
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readiness::FollowsStore => "FollowsStore",
            Readiness::FollowsStoreAfter(_) => "FollowsStoreAfter",
            Readiness::Own(_) => "Own",
            Readiness::OwnAfter(..) => "OwnAfter",
        })
    }
}

/// Keeps the state true until it is aborted, and opens `gate` once the start check, if there is one, has passed. A layout
/// mismatch goes to `fatal`.
pub(crate) async fn follow(
    health: Health,
    store: Valkey,
    readiness: Readiness,
    gate: Gate,
    fatal: watch::Sender<Option<String>>,
) {
    let (check, own, alone): (_, _, Alone) = match readiness {
        Readiness::FollowsStore => (None, None, Box::new(|| false)),
        Readiness::FollowsStoreAfter(check) => (Some(check), None, Box::new(|| false)),
        Readiness::Own(ready) => (None, Some((ready, "the service is not ready yet")), Box::new(|| true)),
        Readiness::OwnAfter(check, Own { ready, waits_for, alone }) => (Some(check), Some((ready, waits_for)), alone),
    };
    if check.is_none() {
        gate.open();
    }
    let answering = answering::follow(health.clone(), store.clone(), alone);
    let ready = async {
        match (check, own) {
            (None, Some(own)) => follow_service(&health, own).await,
            (check, own) => follow_store(&health, &store, check, own, &gate, &fatal).await,
        }
    };
    tokio::join!(ready, answering);
}

/// Until the check has passed, if there is one; then while the store answers, or as `own` says where there is one.
async fn follow_store(
    health: &Health,
    store: &Valkey,
    mut check: Option<StartCheck>,
    own: Option<Said>,
    gate: &Gate,
    fatal: &watch::Sender<Option<String>>,
) {
    let mut failures = 0;
    let mut refused = false;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = match &check {
            Some(check) => check().await,
            None => store.ping().await,
        };
        match looked {
            Ok(()) => {
                check = None;
                gate.open();
                if let Some(own) = own {
                    return follow_service(health, own).await;
                }
                (failures, refused) = (0, false);
                health.set(ready(store)).await;
            }
            Err(error) if error.kind() == ErrorKind::Layout => {
                fatal.send_replace(Some(error.to_string()));
                gate.tell(errors::status(error));
                return;
            }
            Err(error) => {
                failures += 1;
                let silent = is_silence(&error);
                let certain = failures >= FAILURES || (check.is_some() && !silent);
                // A store that refuses the password is silent between two attempts.
                if certain && !(silent && refused) {
                    health.set(State::NotReady(reason(&error))).await;
                }
                refused |= error.kind() == ErrorKind::Denied;
                gate.tell(errors::status(error));
            }
        }
    }
}

/// Ready, as the store answers; in a cluster one node did, and the others may not.
fn ready(store: &Valkey) -> State {
    let reach = store.reach();
    if reach.is_whole() || !store.is_cluster() { State::Ready } else { State::ReadyInPart(reach.to_string()) }
}

/// One reason for all the ways in which a store is away: what the connection says changes from one look to the next (no
/// connection, a late answer, an open breaker).
fn reason(error: &keyplane_valkey::Error) -> String {
    if is_silence(error) { "the store does not answer".to_owned() } else { error.to_string() }
}

fn is_silence(error: &keyplane_valkey::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) && error.code().is_none()
}

/// Whether the service is ready, and what it waits for until it is.
type Said = (watch::Receiver<bool>, &'static str);

async fn follow_service(health: &Health, (mut own, waits_for): Said) {
    let mut was_ready = false;
    loop {
        let ready = *own.borrow_and_update();
        was_ready |= ready;
        let state = match ready {
            true => State::Ready,
            false if was_ready => State::NotReady(waits_for.to_owned()),
            false => State::Starting(waits_for),
        };
        health.set(state).await;
        if own.changed().await.is_err() {
            return;
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

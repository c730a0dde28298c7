//! Readiness: the start check that opens the gate, then the store or the service itself.

use std::time::Duration;

use futures::future::BoxFuture;
use keyplane_valkey::{ErrorKind, Valkey};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::answering::{self, Alone};
use super::health::{Health, State};
use crate::errors;
use crate::layers::gate::Gate;

/// Interval of checks and pings.
const PERIOD: Duration = Duration::from_millis(500);
/// Number of failures in a row that make a ready process unready; a single lost ping must not take it out.
const FAILURES: u32 = 2;

/// Rule by which a process calls itself ready.
///
/// Calls are let in once the start check has passed: the store has what the service needs, and data of its layout. The
/// check is repeated until it passes. An error of kind [`ErrorKind::Layout`] ends the process instead, since waiting
/// mends nothing.
pub struct Readiness {
    check: StartCheck,
    flag: Option<Flag>,
    alone: Alone,
}

/// Readiness by the service itself, and the name of what it waits for.
type Flag = (watch::Receiver<bool>, &'static str);

type StartCheck = Box<dyn Fn() -> BoxFuture<'static, Result<(), keyplane_valkey::Error>> + Send + Sync>;

// === impl Readiness ===

impl Readiness {
    /// Ready once `check` has passed, while the store answers; of a cluster, while one primary does.
    pub fn follows_store<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), keyplane_valkey::Error>> + Send + 'static,
    {
        Self { check: Box::new(move || Box::pin(check())), flag: None, alone: Box::new(|| false) }
    }

    /// Ready once the check has passed, while `ready` is true: for a service that answers without the store. `waits_for`
    /// names what is missing until then: `catching up with the feed`.
    #[must_use]
    pub fn own(self, ready: watch::Receiver<bool>, waits_for: &'static str) -> Self {
        Self { flag: Some((ready, waits_for)), ..self }
    }

    /// Sets `alone`, which reports whether the service answers in full at this moment without the store; unset, it never does.
    ///
    /// Runs a few times a second, so it must not block.
    #[must_use]
    pub fn answers_while(self, alone: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { alone: Box::new(alone), ..self }
    }
}

/// Keeps the state true until it is aborted, and opens `gate` once the start check has passed. A layout mismatch goes to
/// `fatal`.
pub(crate) async fn follow(
    health: Health,
    store: Valkey,
    readiness: Readiness,
    gate: Gate,
    fatal: watch::Sender<Option<String>>,
) {
    let Readiness { check, flag, alone } = readiness;
    let answering = answering::follow(health.clone(), store.clone(), alone);
    tokio::join!(follow_store(&health, &store, check, flag, &gate, &fatal), answering);
}

/// Repeats the check until it has passed; then follows `flag` where there is one, and the store otherwise.
async fn follow_store(
    health: &Health,
    store: &Valkey,
    check: StartCheck,
    flag: Option<Flag>,
    gate: &Gate,
    fatal: &watch::Sender<Option<String>>,
) {
    let mut check = Some(check);
    let mut failures = 0;
    let mut denied = false;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outcome = match &check {
            Some(check) => check().await,
            None => store.ping().await,
        };
        match outcome {
            Ok(()) => {
                check = None;
                gate.open();
                if let Some(flag) = flag {
                    return follow_service(health, flag).await;
                }
                (failures, denied) = (0, false);
                health.set(ready(store)).await;
            }
            Err(error) if error.kind() == ErrorKind::Layout => {
                fatal.send_replace(Some(error.to_string()));
                gate.reject_with(errors::status(error));
                return;
            }
            Err(error) => {
                failures += 1;
                let silent = is_silence(&error);
                let certain = failures >= FAILURES || (check.is_some() && !silent);
                // A store that denies the password is silent between two attempts.
                if certain && !(silent && denied) {
                    health.set(State::NotReady(reason(&error))).await;
                }
                denied |= error.kind() == ErrorKind::Denied;
                gate.reject_with(errors::status(error));
            }
        }
    }
}

/// Returns the state when the store answers; in a cluster one node did, and the others may not.
fn ready(store: &Valkey) -> State {
    let reach = store.reach();
    if reach.is_whole() || !store.is_cluster() { State::Ready } else { State::ReadyInPart(reach.to_string()) }
}

/// Words the error of a store, with one reason for all ways to be unavailable. The ways change from one ping to the next:
/// no connection, a late answer, an open breaker.
fn reason(error: &keyplane_valkey::Error) -> String {
    if is_silence(error) { "the store does not answer".to_owned() } else { error.to_string() }
}

fn is_silence(error: &keyplane_valkey::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) && error.code().is_none()
}

async fn follow_service(health: &Health, (mut flag, waits_for): Flag) {
    let mut was_ready = false;
    loop {
        let ready = *flag.borrow_and_update();
        was_ready |= ready;
        let state = match ready {
            true => State::Ready,
            false if was_ready => State::NotReady(waits_for.to_owned()),
            false => State::Starting(waits_for),
        };
        health.set(state).await;
        if flag.changed().await.is_err() {
            return;
        }
    }
}

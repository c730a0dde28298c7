//! Whether calls should come here rather than to another instance of the service.
//!
//! A ready instance answers, but where it is cut off from the store its answers may be an outage policy's, and mostly
//! refusals. Gateways ask gRPC health for `answering`, send calls to the instances that are SERVING, and to all where none is:
//! only then do outage policies speak. Readiness is another question: a process that is not ready gets no calls at all.

use std::pin::pin;
use std::time::Duration;

use keyplane_valkey::Valkey;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::health::Health;

/// Name of the question in gRPC health.
pub(crate) const ANSWERING: &str = "answering";

/// Time between two looks at the store. With [`FAILURES`] it bounds how long callers of an instance that is cut off are refused.
const PERIOD: Duration = Duration::from_millis(150);
/// An answer that takes longer is a failure.
const PATIENCE: Duration = Duration::from_millis(150);
/// Failures in a row that count; a single one may be a pause of this process.
const FAILURES: u32 = 2;

/// Tells whether the service answers in full at this moment without the store.
pub(crate) type Alone = Box<dyn Fn() -> bool + Send + Sync>;

/// Keeps `answering` true until it is aborted.
pub(crate) async fn follow(health: Health, store: Valkey, alone: Alone) {
    let mut failures = FAILURES;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (mut ping, mut late) = (pin!(store.ping()), false);
        // A late answer is waited for: more questions would not make the store faster.
        let answered = loop {
            match timeout(PATIENCE, &mut ping).await {
                Ok(answered) => break answered.is_ok(),
                Err(_) => {
                    late = true;
                    failures = failures.saturating_add(1);
                    health.set_answering(failures < FAILURES || alone()).await;
                }
            }
        };
        failures = match answered {
            true if late => failures,
            true => 0,
            false => failures.saturating_add(1),
        };
        health.set_answering(failures < FAILURES || alone()).await;
    }
}

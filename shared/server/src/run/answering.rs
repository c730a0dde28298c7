//! Preference of gateways for instances that answer in full, by the name `answering` in gRPC health.
//!
//! Ready instances answer, but without the store by an outage policy, which mostly rejects. Gateways send calls to the
//! instances whose `answering` is SERVING, and to all where none is: only then do outage policies apply. Readiness differs:
//! a process that is not ready gets no calls at all.

use std::pin::pin;
use std::time::Duration;

use keyplane_valkey::Valkey;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::health::Health;

/// Interval of pings. With [`FAILURES`] it bounds the time in which callers of a cut-off instance are rejected.
const PERIOD: Duration = Duration::from_millis(150);
/// Longest ping that is no failure.
const PATIENCE: Duration = Duration::from_millis(150);
/// Number of failures in a row that count; a single one may be a pause of this process.
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
        // The ping of a late store goes on: further pings would not make it faster.
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

//! Lease of this instance: reports its position in the feed to the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::shared::Shared;

/// Longest report interval: 1 s, or a third of the lease.
const QUIET: Duration = Duration::from_secs(1);
/// Shortest report interval.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause before another attempt, after a report failed.
const AGAIN: Duration = Duration::from_millis(200);

/// Reports until it is dropped. The instance is ready once the first report was accepted, so that nobody counts the
/// instances without it; or after a lease's time, since a store that is full must not keep it from answering for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.readiness.caught_up().await;
    let lease = shared.settings.lease;
    let quiet = QUIET.min(lease / 3);
    let patience = Instant::now() + lease;
    let mut clock_is_off = false;
    while !shared.left.load(Ordering::SeqCst) {
        let sequence = shared.coverage.sequence();
        let reported = match timeout(QUIET, shared.store.report(&shared.instance, &sequence, lease)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store did not accept this instance's lease");
                false
            }
            Err(_) => false,
        };
        if reported || Instant::now() > patience {
            shared.readiness.set_ready();
        }
        clock_is_off = compare_clocks(&shared, clock_is_off);
        if reported {
            sleep(PAUSE).await;
            let _ = timeout(quiet, shared.coverage.advanced()).await;
        } else {
            sleep(AGAIN).await;
        }
    }
}

/// Ends the lease, and the reports. A report in flight may arrive after it; then the lease runs out.
pub(super) async fn leave(shared: &Shared) {
    shared.left.store(true, Ordering::SeqCst);
    let sequence = shared.coverage.sequence();
    let report = shared.store.report(&shared.instance, &sequence, Duration::ZERO);
    if let Ok(Err(error)) = timeout(QUIET, report).await {
        tracing::debug!(%error, "the store did not accept the end of this instance's lease");
    }
}

/// Logs when this machine's clock begins or ceases to differ from the store's by more than the leeway; `true` while it
/// does. Answers follow the store's time, so that nothing but the log depends on it.
fn compare_clocks(shared: &Shared, was_off: bool) -> bool {
    let Some(ahead_ms) = shared.store.wall_ahead() else { return was_off };
    let leeway = shared.settings.rules.leeway.max(QUIET);
    let is_off = u128::from(ahead_ms.unsigned_abs()) > leeway.as_millis();
    match (was_off, is_off) {
        (false, true) => {
            tracing::warn!(ahead_ms, "this machine's clock is off: checks go by the store's; correct the clock");
        }
        (true, false) => tracing::info!(ahead_ms, "this machine's clock agrees with the store's again"),
        (true, true) | (false, false) => {}
    }
    is_off
}

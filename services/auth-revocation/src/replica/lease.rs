//! Tells the other instances how far this one is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::shared::Shared;

/// Told at least so often, or three times in a lease.
const QUIET: Duration = Duration::from_secs(1);
/// Told at most so often.
const PAUSE: Duration = Duration::from_millis(20);
/// Before another try, after the store did not take it.
const AGAIN: Duration = Duration::from_millis(200);

/// Reports until it is dropped. The instance is ready when the first report was taken, so that nobody counts the instances
/// without it; a store that takes none, being full, must not keep it from answering for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.until_whole().await;
    let lease = shared.settings.lease;
    let quiet = QUIET.min(lease / 3);
    let patience = Instant::now() + lease;
    while !shared.left.load(Ordering::SeqCst) {
        let sequence = shared.sequence();
        let told = timeout(QUIET, shared.store.report(&shared.instance, &sequence, lease)).await;
        let told = match told {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store did not take this instance's lease");
                false
            }
            Err(_) => false,
        };
        if (told || Instant::now() > patience) && !shared.ready.send_replace(true) {
            tracing::info!("the replica has caught up with the feed");
        }
        shared.compare_clocks();
        if told {
            sleep(PAUSE).await;
            // A notice that came meanwhile is kept.
            let _ = timeout(quiet, shared.progress.notified()).await;
        } else {
            sleep(AGAIN).await;
        }
    }
}

/// Ends the lease, and the reports. One that is on its way may come after it; then the lease ends by itself.
pub(super) async fn leave(shared: &Shared) {
    shared.left.store(true, Ordering::SeqCst);
    let sequence = shared.sequence();
    let report = shared.store.report(&shared.instance, &sequence, Duration::ZERO);
    if let Ok(Err(error)) = timeout(QUIET, report).await {
        tracing::debug!(%error, "the store did not hear that this instance ends");
    }
}

// === impl Shared ===

impl Shared {
    /// Says when this machine's clock begins to be off by more than clocks may differ, and when it is right again. Answers
    /// follow the store's time, so that it is the operator's to know, and nothing else depends on it.
    fn compare_clocks(&self) {
        let Some(ahead_ms) = self.store.wall_ahead() else { return };
        let leeway = self.settings.rules.leeway.max(QUIET);
        let off = u128::from(ahead_ms.unsigned_abs()) > leeway.as_millis();
        if off == self.off.swap(off, Ordering::Relaxed) {
            return;
        }
        if off {
            tracing::warn!(ahead_ms, "this machine's clock is off: checks go by the store's; correct the clock");
        } else {
            tracing::info!(ahead_ms, "this machine's clock agrees with the store's again");
        }
    }

    /// Waits until the replica has caught up for the first time.
    pub(super) async fn until_whole(&self) {
        let mut whole = self.whole.subscribe();
        // The sender lives in `self`.
        let _ = whole.wait_for(|whole| *whole).await;
    }
}

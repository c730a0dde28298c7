//! Retries of writes to the store while the feed is read anew.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::Error;

/// Time for all attempts of a write, before the feed is read once more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats a call that fails, for 5 s: the connections for scripts may take longer to come back than that of a
/// follower.
pub(super) async fn retried<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> Result<T, Error> {
    let last = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if error.is_retryable() && Instant::now() < last => sleep(PAUSE).await,
            result => return result,
        }
    }
}

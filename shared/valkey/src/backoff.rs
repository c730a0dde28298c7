//! Pauses between attempts to connect.

use std::time::Duration;

use fred::types::config::ReconnectPolicy;

/// Pauses from 20 ms to 500 ms with jitter: clients find a restored server soon, and not all at once.
pub(crate) struct Backoff(ReconnectPolicy);

impl Backoff {
    pub(crate) fn new() -> Backoff {
        let mut policy = ReconnectPolicy::new_exponential(0, 20, 500, 2);
        policy.set_jitter(100);
        Backoff(policy)
    }

    pub(crate) fn reset(&mut self) {
        *self = Backoff::new();
    }

    pub(crate) async fn wait(&mut self) {
        let pause = self.0.next_delay().unwrap_or(500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

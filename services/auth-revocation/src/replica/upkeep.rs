//! What has to be done now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::shared::Shared;
use crate::error::Error;

/// How long the pause between two looks for what the feed is about to forget may be.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// Works until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.until_whole().await;
    let period = (shared.store.settings().retention() / 16).clamp(REFRESH.0, REFRESH.1);
    let (mut prune, mut refresh) = (interval(shared.settings.prune), interval(period));
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = prune.tick() => {
                if let Some(passed) = shared.store.passed() {
                    shared.replica.prune(passed);
                }
            }
            _ = refresh.tick() => match shared.refresh().await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "revocations that last long were appended to the feed again"),
                Err(error) => tracing::debug!(%error, "revocations that last long could not be appended again yet"),
            },
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Appends what lasts longer than the feed remembers once more, when half of that time is over. One instance does it:
    /// the first by name. Should two think so, the second finds young copies.
    pub(super) async fn refresh(&self) -> Result<u64, Error> {
        let first = self.store.replicas().await?.into_iter().map(|(name, _)| name).min();
        if first.is_some_and(|first| first < self.instance) {
            return Ok(0);
        }
        let half = self.store.settings().retention() / 2;
        let entries = self.replica.persistent(self.store.now().plus(half));
        let mut count = 0;
        if !entries.is_empty() {
            for partition in 0..self.store.partitions() {
                count += self.store.refresh(partition, &entries, half).await?;
            }
        }
        Ok(count)
    }
}

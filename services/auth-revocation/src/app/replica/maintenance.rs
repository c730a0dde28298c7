//! Maintenance: forgets expired entries, and appends to the feed again what outlasts the feed's retention.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::shared::Shared;
use crate::error::Error;

/// Shortest and longest pause between two looks for entries that the feed is about to forget.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.readiness.caught_up().await;
    let period = (shared.store.settings().retention() / 16).clamp(REFRESH.0, REFRESH.1);
    let (mut prune, mut look) = (interval(shared.settings.prune), interval(period));
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = prune.tick() => {
                if let Some(passed) = shared.store.passed() {
                    shared.memory.prune(passed);
                }
            }
            _ = look.tick() => match refresh(&shared).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "long-lived revocations were appended to the feed again"),
                Err(error) => tracing::debug!(%error, "long-lived revocations could not be appended again yet"),
            },
        }
    }
}

/// Beats for the detector of stalls, until it is dropped.
pub(super) async fn beat(shared: Arc<Shared>) {
    let mut beats = interval(shared.settings.beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        shared.stalls.beat(Instant::now());
    }
}

/// Appends revocations that outlast the feed's retention once more, when half of that time is over. One instance does
/// it: the first by name. Should two consider themselves the first, the second finds young copies.
async fn refresh(shared: &Shared) -> Result<u64, Error> {
    let first = shared.store.instances().await?.into_iter().map(|(name, _)| name).min();
    if first.is_some_and(|first| *first < *shared.instance) {
        return Ok(0);
    }
    let half = shared.store.settings().retention() / 2;
    let entries = shared.memory.persistent(shared.store.now().plus(half));
    let mut count = 0;
    if !entries.is_empty() {
        for partition in 0..shared.store.partitions() {
            count += shared.store.refresh(partition, &entries, half).await?;
        }
    }
    Ok(count)
}

//! Gauges that are read whenever metrics are collected: age and size of memory, and this machine's clock.

use std::sync::Arc;

use keyplane_revocation::Stats;
use keyplane_telemetry::{metrics, semconv};

use super::shared::Shared;

/// Registers the gauges. They report for as long as the replica exists.
pub(super) fn register(shared: &Arc<Shared>) {
    let gauge = |name, unit, description, read: fn(&Shared) -> Option<i64>| {
        let shared = Arc::downgrade(shared);
        metrics::observed(name, unit, description, move || read(&*shared.upgrade()?));
    };
    gauge(
        semconv::KEYPLANE_REVOCATION_REPLICA_AGE,
        "ms",
        "Age of memory: everything that was acknowledged this long ago is in it; absent while that is unknown",
        |shared| shared.head().age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
    );
    gauge(semconv::KEYPLANE_REVOCATION_REPLICA_ENTRIES, "{revocation}", "Revocations in memory", |shared| {
        stat(shared, |stats| stats.tokens + stats.cutoffs)
    });
    gauge(
        semconv::KEYPLANE_REVOCATION_LOST_HELD,
        "{revocation}",
        "Revocations in filters of which the store has lost some; 0 once all of their tokens have expired",
        |shared| stat(shared, |stats| stats.lost),
    );
    gauge(semconv::KEYPLANE_REVOCATION_REPLICA_SIZE, "By", "Memory that filters and cutoffs take", |shared| {
        stat(shared, |stats| stats.filter_bytes + stats.cutoff_bytes)
    });
    gauge(
        semconv::KEYPLANE_REVOCATION_CLOCK_AHEAD,
        "ms",
        "Time by which this machine's clock is ahead of the store's; negative: behind",
        |shared| shared.store.wall_ahead(),
    );
}

fn stat(shared: &Shared, read: fn(&Stats) -> usize) -> Option<i64> {
    i64::try_from(read(&shared.memory.stats())).ok()
}

//! Gauges that are read whenever metrics are collected: age and size of memory, and this machine's clock.

use std::sync::Arc;

use keyplane_revocation::Stats;
use keyplane_telemetry::{metrics, semconv};

use super::shared::Shared;

/// Registers the gauges. They report for as long as the replica exists.
pub(super) fn register(shared: &Arc<Shared>) {
    let gauge = |name, unit, description, read: fn(&Shared) -> Option<u64>| {
        let shared = Arc::downgrade(shared);
        let meter = metrics::meter();
        let builder = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
        // The provider keeps it.
        let _ = builder
            .with_callback(move |observer| {
                if let Some(value) = shared.upgrade().and_then(|shared| read(&shared)) {
                    observer.observe(value, &[]);
                }
            })
            .build();
    };
    gauge(
        semconv::KEYPLANE_REVOCATION_REPLICA_AGE,
        "ms",
        "Age of memory: everything that was acknowledged this long ago is in it; absent while that is unknown",
        |shared| shared.head().age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
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
    let shared = Arc::downgrade(shared);
    let meter = metrics::meter();
    let clock = meter.i64_observable_gauge(semconv::KEYPLANE_REVOCATION_CLOCK_AHEAD).with_unit("ms");
    let _ = clock
        .with_description("Time by which this machine's clock is ahead of the store's; negative: behind")
        .with_callback(move |observer| {
            if let Some(ahead) = shared.upgrade().and_then(|shared| shared.store.wall_ahead()) {
                observer.observe(ahead, &[]);
            }
        })
        .build();
}

fn stat(shared: &Shared, read: fn(&Stats) -> usize) -> Option<u64> {
    u64::try_from(read(&shared.memory.stats())).ok()
}

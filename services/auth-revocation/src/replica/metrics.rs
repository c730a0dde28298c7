//! What the replica measures.

use std::sync::Arc;
use std::time::Duration;

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::checker::Source;
use super::shared::Shared;

/// Why an answer did not come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Memory was never whole.
    Cold,
    /// Memory is too old.
    Stale,
    /// Memory and the store are being reconciled.
    Doubt,
    /// The caller demands a sequence that was not applied.
    Sequence,
    /// The caller demands fresher knowledge than memory has.
    Staleness,
    /// A filter holds the token, and the store did not answer.
    Suspect,
}

/// The instruments. Nothing is recorded for an answer from memory.
pub(super) struct Metrics {
    propagation: Histogram<f64>,
    false_positives: Counter<u64>,
    fallbacks: Counter<u64>,
    reappended: Counter<u64>,
    lost: Counter<u64>,
    refused_after_loss: Counter<u64>,
    epochs: Counter<u64>,
}

// === impl Why ===

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Why::Cold => "cold",
            Why::Stale => "stale",
            Why::Doubt => "doubt",
            Why::Sequence => "min_sequence",
            Why::Staleness => "max_staleness",
            Why::Suspect => "suspect",
        }
    }
}

// === impl Source ===

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Source::Local => "local",
            Source::Store => "store",
            Source::Policy => "policy",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Metrics {
        let counter = metrics::counter;
        Metrics {
            propagation: metrics::latency(
                semconv::KEYPLANE_REVOCATION_PROPAGATION_DURATION,
                "From a revocation's moment until this instance applied it, both by the store's clock",
            ),
            false_positives: counter(
                semconv::KEYPLANE_REVOCATION_FALSE_POSITIVES,
                "{check}",
                "Good tokens that a filter held, until the store said so",
            ),
            fallbacks: counter(
                semconv::KEYPLANE_REVOCATION_FALLBACKS,
                "{check}",
                "Checks that memory could not answer, by who answered and why",
            ),
            reappended: counter(
                semconv::KEYPLANE_REVOCATION_REAPPENDED,
                "{revocation}",
                "Revocations that the store had lost, and this instance gave back",
            ),
            lost: counter(
                semconv::KEYPLANE_REVOCATION_LOST,
                "{revocation}",
                "Revocations of tokens that the store had lost, and this instance could not give back",
            ),
            refused_after_loss: counter(
                semconv::KEYPLANE_REVOCATION_REFUSED_AFTER_LOSS,
                "{check}",
                "Checks that were refused since the store may have lost the token's revocation",
            ),
            epochs: counter(
                semconv::KEYPLANE_REVOCATION_EPOCHS,
                "{epoch}",
                "Times that the feed did not go on from what this instance had applied",
            ),
        }
    }

    pub(super) fn propagated(&self, took: Duration) {
        self.propagation.record(took.as_secs_f64(), &[]);
    }

    pub(super) fn false_positive(&self) {
        self.false_positives.add(1, &[]);
    }

    pub(super) fn fallback(&self, source: Source, why: Why) {
        let source = KeyValue::new(semconv::KEYPLANE_REVOCATION_SOURCE, source.as_str());
        self.fallbacks.add(1, &[source, KeyValue::new(semconv::KEYPLANE_REVOCATION_REASON, why.as_str())]);
    }

    /// Counts what the store had lost: what was given back to it, and what could not be.
    pub(super) fn given_back(&self, count: u64, lost: usize) {
        self.reappended.add(count, &[]);
        self.lost.add(u64::try_from(lost).unwrap_or(u64::MAX), &[]);
    }

    pub(super) fn refused_after_loss(&self) {
        self.refused_after_loss.add(1, &[]);
    }

    pub(super) fn epoch_changed(&self) {
        self.epochs.add(1, &[]);
    }
}

// === impl Shared ===

impl Shared {
    /// Has the age of memory and its size looked at whenever metrics are collected, for as long as it is there.
    pub(super) fn observe(self: &Arc<Self>) {
        let gauge = |name, unit, description, look: fn(&Shared) -> Option<u64>| {
            let shared = Arc::downgrade(self);
            let meter = metrics::meter();
            let builder = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
            // The provider keeps it.
            let _ = builder
                .with_callback(move |observer| {
                    if let Some(value) = shared.upgrade().and_then(|shared| look(&shared)) {
                        observer.observe(value, &[]);
                    }
                })
                .build();
        };
        gauge(
            semconv::KEYPLANE_REVOCATION_REPLICA_AGE,
            "ms",
            "Everything that was acknowledged so long ago is in memory; absent while that can't be said",
            |shared| shared.head().age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        );
        gauge(semconv::KEYPLANE_REVOCATION_REPLICA_ENTRIES, "{revocation}", "Revocations in memory", |shared| {
            Some(as_u64(shared.replica.stats(), |stats| stats.tokens + stats.cutoffs))
        });
        gauge(
            semconv::KEYPLANE_REVOCATION_LOST_HELD,
            "{revocation}",
            "Revocations in filters of which the store has lost some; 0 once all of their tokens have expired",
            |shared| Some(as_u64(shared.replica.stats(), |stats| stats.lost)),
        );
        gauge(semconv::KEYPLANE_REVOCATION_REPLICA_SIZE, "By", "Memory that filters and cutoffs take", |shared| {
            Some(as_u64(shared.replica.stats(), |stats| stats.filter_bytes + stats.cutoff_bytes))
        });
        let shared = Arc::downgrade(self);
        let meter = metrics::meter();
        let clock = meter.i64_observable_gauge(semconv::KEYPLANE_REVOCATION_CLOCK_AHEAD).with_unit("ms");
        let _ = clock
            .with_description("By how much this machine's clock is ahead of the store's; negative: behind")
            .with_callback(move |observer| {
                if let Some(ahead) = shared.upgrade().and_then(|shared| shared.store.wall_ahead()) {
                    observer.observe(ahead, &[]);
                }
            })
            .build();
    }
}

fn as_u64(stats: keyplane_revocation::Stats, of: impl Fn(&keyplane_revocation::Stats) -> usize) -> u64 {
    u64::try_from(of(&stats)).unwrap_or(u64::MAX)
}

//! Instruments of the replica.

use std::time::Duration;

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::{Counter, Histogram};

/// Instruments of the replica. Answers from memory record nothing.
pub(super) struct Metrics {
    propagation: Histogram<f64>,
    reappended: Counter<u64>,
    lost: Counter<u64>,
    epochs: Counter<u64>,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            propagation: metrics::latency(
                semconv::KEYPLANE_REVOCATION_PROPAGATION_DURATION,
                "From a revocation's moment until this instance applied it, both by the store's clock",
            ),
            reappended: metrics::counter(
                semconv::KEYPLANE_REVOCATION_REAPPENDED,
                "{revocation}",
                "Revocations that the store had lost, and this instance gave back",
            ),
            lost: metrics::counter(
                semconv::KEYPLANE_REVOCATION_LOST,
                "{revocation}",
                "Revocations of tokens that the store had lost, and this instance could not give back",
            ),
            epochs: metrics::counter(
                semconv::KEYPLANE_REVOCATION_EPOCHS,
                "{epoch}",
                "Times that the feed did not go on from what this instance had applied",
            ),
        }
    }

    pub(super) fn propagated(&self, took: Duration) {
        self.propagation.record(took.as_secs_f64(), &[]);
    }

    /// Counts revocations that the store had lost: those given back to it, and those that could not be.
    pub(super) fn given_back(&self, count: u64, lost: usize) {
        self.reappended.add(count, &[]);
        self.lost.add(u64::try_from(lost).unwrap_or(u64::MAX), &[]);
    }

    pub(super) fn epoch_changed(&self) {
        self.epochs.add(1, &[]);
    }
}

//! Instruments of checks. Answers from memory record nothing.

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::answer::Source;

/// Instruments of checks.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    false_positives: Counter<u64>,
    fallbacks: Counter<u64>,
    rejected_after_loss: Counter<u64>,
}

/// Reasons why an answer did not come from memory.
pub(super) mod reason {
    /// Memory never caught up.
    pub(in super::super) const COLD: &str = "cold";
    /// Memory is too old.
    pub(in super::super) const STALE: &str = "stale";
    /// Memory and the store are being reconciled.
    pub(in super::super) const DOUBT: &str = "doubt";
    /// Memory has not applied the sequence that the caller demands.
    pub(in super::super) const SEQUENCE: &str = "min_sequence";
    /// Memory exceeds the staleness that the caller demands.
    pub(in super::super) const STALENESS: &str = "max_staleness";
    /// Filter hit that the store did not confirm.
    pub(in super::super) const SUSPECT: &str = "suspect";
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            false_positives: metrics::counter(
                semconv::KEYPLANE_REVOCATION_FALSE_POSITIVES,
                "{check}",
                "Good tokens that a filter held, until the store cleared them",
            ),
            fallbacks: metrics::counter(
                semconv::KEYPLANE_REVOCATION_FALLBACKS,
                "{check}",
                "Checks that memory could not answer, by source of the answer and reason",
            ),
            rejected_after_loss: metrics::counter(
                semconv::KEYPLANE_REVOCATION_REFUSED_AFTER_LOSS,
                "{check}",
                "Tokens that were rejected because the store may have lost their revocation",
            ),
        }
    }

    pub(super) fn false_positive(&self) {
        self.false_positives.add(1, &[]);
    }

    /// Counts an answer that did not come from memory, for a reason of [`reason`].
    pub(super) fn fallback(&self, source: Source, reason: &'static str) {
        let source = KeyValue::new(semconv::KEYPLANE_REVOCATION_SOURCE, source.as_str());
        self.fallbacks.add(1, &[source, KeyValue::new(semconv::KEYPLANE_REVOCATION_REASON, reason)]);
    }

    pub(super) fn rejected_after_loss(&self) {
        self.rejected_after_loss.add(1, &[]);
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

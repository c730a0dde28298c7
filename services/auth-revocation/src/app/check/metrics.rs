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

/// Reason why an answer did not come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FallbackReason {
    /// Memory never caught up.
    Cold,
    /// Memory is too old.
    Stale,
    /// Memory and the store are being reconciled.
    Doubt,
    /// Sequence that the caller demands, and memory has not applied.
    Sequence,
    /// Staleness that the caller demands, and memory exceeds.
    Staleness,
    /// Suspect: a filter holds the token, and the store did not answer.
    Suspect,
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

    pub(super) fn fallback(&self, source: Source, reason: FallbackReason) {
        let source = KeyValue::new(semconv::KEYPLANE_REVOCATION_SOURCE, source.as_str());
        self.fallbacks.add(1, &[source, KeyValue::new(semconv::KEYPLANE_REVOCATION_REASON, reason.as_str())]);
    }

    pub(super) fn rejected_after_loss(&self) {
        self.rejected_after_loss.add(1, &[]);
    }
}

// === impl FallbackReason ===

impl FallbackReason {
    fn as_str(self) -> &'static str {
        match self {
            FallbackReason::Cold => "cold",
            FallbackReason::Stale => "stale",
            FallbackReason::Doubt => "doubt",
            FallbackReason::Sequence => "min_sequence",
            FallbackReason::Staleness => "max_staleness",
            FallbackReason::Suspect => "suspect",
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

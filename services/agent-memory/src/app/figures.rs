//! Metrics of the upkeep of memories.

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

/// Instruments of the upkeep. Clones share them.
#[derive(Clone)]
pub struct Figures {
    removed: Counter<u64>,
    drift: Counter<u64>,
}

// === impl Figures ===

impl Default for Figures {
    /// Makes the instruments. Call it after telemetry is set up.
    fn default() -> Figures {
        Figures {
            removed: metrics::counter(
                semconv::KEYPLANE_MEMORY_REMOVED,
                "{memory}",
                "Memories that were removed by the service, by reason: expired or evicted",
            ),
            drift: metrics::counter(
                semconv::KEYPLANE_MEMORY_DRIFT,
                "{entry}",
                "Items, postings and counters that had drifted from the memories, and were mended",
            ),
        }
    }
}

impl Figures {
    /// Counts memories that were evicted.
    pub fn evicted(&self, memories: usize) {
        self.remove(memories, "evicted");
    }

    /// Counts memories that had expired.
    pub fn expired(&self, memories: usize) {
        self.remove(memories, "expired");
    }

    /// Counts what was mended.
    pub fn mended(&self, entries: u64) {
        self.drift.add(entries, &[]);
    }

    fn remove(&self, memories: usize, reason: &'static str) {
        let memories = u64::try_from(memories).unwrap_or(u64::MAX);
        self.removed.add(memories, &[KeyValue::new(semconv::KEYPLANE_MEMORY_REASON, reason)]);
    }
}

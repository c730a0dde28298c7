//! Metrics of the maintenance.

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};

/// Instruments of the maintenance. Clones share them.
#[derive(Clone)]
pub struct Figures {
    rebuilds: Counter<u64>,
    drift: Counter<u64>,
    expired: Counter<u64>,
    indexes: Gauge<i64>,
    evicting: Gauge<i64>,
}

// === impl Figures ===

impl Default for Figures {
    /// Makes the instruments. Call it after telemetry is set up.
    fn default() -> Figures {
        Figures {
            rebuilds: metrics::counter(semconv::KEYPLANE_SEARCH_REBUILDS, "{rebuild}", "Rebuilds that ended"),
            drift: metrics::counter(
                semconv::KEYPLANE_SEARCH_DRIFT,
                "{counter}",
                "Counters and term frequencies that had drifted from the documents, and were mended",
            ),
            expired: metrics::counter(
                semconv::KEYPLANE_SEARCH_EXPIRED,
                "{document}",
                "Expired documents that were removed",
            ),
            indexes: metrics::gauge(semconv::KEYPLANE_SEARCH_INDEXES, "{index}", "Indexes of the store"),
            evicting: metrics::gauge(
                semconv::KEYPLANE_SEARCH_EVICTING,
                "1",
                "1 if the store evicts documents when its memory is full",
            ),
        }
    }
}

impl Figures {
    /// Counts a rebuild that switched, or was given up.
    pub fn rebuilt(&self, done: bool) {
        let outcome = if done { "done" } else { "failed" };
        self.rebuilds.add(1, &[KeyValue::new(semconv::KEYPLANE_SEARCH_OUTCOME, outcome)]);
    }

    /// Counts counters and terms that were mended.
    pub fn mended(&self, drift: u64) {
        self.drift.add(drift, &[]);
    }

    /// Counts expired documents that were removed.
    pub fn swept(&self, documents: u64) {
        self.expired.add(documents, &[]);
    }

    /// Records whether a full store evicts documents.
    pub fn checked(&self, evicts: bool) {
        self.evicting.record(evicts.into(), &[]);
    }

    /// Records the number of indexes.
    pub fn counted(&self, indexes: usize) {
        self.indexes.record(i64::try_from(indexes).unwrap_or(i64::MAX), &[]);
    }
}

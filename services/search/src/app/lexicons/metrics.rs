//! Metrics of the lexicons.

use std::sync::{Arc, Weak};
use std::time::Duration;

use keyplane_telemetry::metrics::{counter, latency, meter};
use keyplane_telemetry::semconv;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::Shared;

/// Instruments.
pub(super) struct Metrics {
    events: Counter<u64>,
    lag: Histogram<f64>,
}

/// Publishes the size of all lexicons. A scrape asks for it; calls record nothing.
pub(super) fn publish(shared: &Arc<Shared>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    meter()
        .u64_observable_gauge(semconv::KEYPLANE_SEARCH_LEXICON_SIZE)
        .with_unit("By")
        .with_description("Bytes of the lexicons in memory")
        .with_callback(move |observer| {
            if let Some(shared) = shared.upgrade() {
                observer.observe(shared.bytes() as u64, &[]);
            }
        })
        .build();
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            events: counter(
                semconv::KEYPLANE_SEARCH_LEXICON_EVENTS,
                "{lexicon}",
                "Lexicons that were loaded, merged or evicted",
            ),
            lag: latency(semconv::KEYPLANE_SEARCH_LEXICON_LAG, "Time since a search's lexicon was read from its log"),
        }
    }

    pub(super) fn lag(&self, lag: Duration) {
        self.lag.record(lag.as_secs_f64(), &[]);
    }

    pub(super) fn loaded(&self) {
        self.count("loaded");
    }

    pub(super) fn merged(&self) {
        self.count("merged");
    }

    pub(super) fn evicted(&self) {
        self.count("evicted");
    }

    fn count(&self, event: &'static str) {
        self.events.add(1, &[KeyValue::new(semconv::KEYPLANE_SEARCH_LEXICON_EVENT, event)]);
    }
}

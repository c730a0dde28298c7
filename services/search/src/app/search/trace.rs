//! Steps of a search as they ran: for callers who ask for the plan, for the span, and for metrics.

use std::time::Instant;

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use parking_lot::Mutex;
use tracing::field::Empty;

use crate::domain::result::{Plan, Step};
use crate::store::Matches;

/// Steps of one search.
#[derive(Debug, Default)]
pub(super) struct Trace(Mutex<Vec<Step>>);

/// Instruments of searches.
#[derive(Clone)]
pub(super) struct Meters {
    duration: Histogram<f64>,
    loaded: Counter<u64>,
    capped: Counter<u64>,
}

// === impl Trace ===

impl Trace {
    /// Adds a step that began at `start` and ends now.
    pub(super) fn add(&self, name: &str, start: Instant, matched: u64, loaded: u64) {
        self.0.lock().push(Step { name: name.to_owned(), matched, loaded, took: start.elapsed() });
    }

    /// Adds a call to the index.
    pub(super) fn found(&self, name: &str, start: Instant, matches: &Matches) {
        self.add(name, start, matches.total, matches.rows.len() as u64);
    }

    /// Steps so far, in the order of their ends.
    pub(super) fn plan(&self) -> Plan {
        Plan { steps: self.0.lock().clone() }
    }

    /// Documents that the engine loaded.
    fn loaded(&self) -> u64 {
        self.0.lock().iter().map(|step| step.loaded).sum()
    }

    /// Text of the steps, for a span: `windows 240/240 1.2ms; load 20/20 0.4ms`.
    fn summary(&self) -> String {
        let steps = self.0.lock();
        let step = |step: &Step| format!("{} {}/{} {:?}", step.name, step.loaded, step.matched, step.took);
        steps.iter().map(step).collect::<Vec<_>>().join("; ")
    }
}

// === impl Meters ===

impl Meters {
    pub(super) fn new() -> Meters {
        Meters {
            duration: metrics::latency(
                semconv::KEYPLANE_SEARCH_DURATION,
                "Duration of searches, by the kind of their plan",
            ),
            loaded: metrics::counter(
                semconv::KEYPLANE_SEARCH_LOADED,
                "{document}",
                "Documents that the engine loaded for searches, by the kind of the plan",
            ),
            capped: metrics::counter(
                semconv::KEYPLANE_SEARCH_CAPPED,
                "{search}",
                "Searches with more matches than were ranked",
            ),
        }
    }

    /// Records a finished search, also in its span.
    pub(super) fn record(&self, kind: &'static str, start: Instant, trace: &Trace, capped: bool) {
        let attributes = [KeyValue::new(semconv::KEYPLANE_SEARCH_PLAN, kind)];
        self.duration.record(start.elapsed().as_secs_f64(), &attributes);
        self.loaded.add(trace.loaded(), &attributes);
        if capped {
            self.capped.add(1, &[]);
        }
        let span = tracing::Span::current();
        if span.has_field("keyplane.search.plan") {
            span.record("keyplane.search.plan", kind).record("keyplane.search.steps", trace.summary());
        }
    }
}

/// Span of one search; disabled unless the caller's trace is recorded.
pub(super) fn span() -> tracing::Span {
    if !Context::map_current(|context| context.span().span_context().is_sampled()) {
        return tracing::Span::none();
    }
    tracing::info_span!("search", keyplane.search.plan = Empty, keyplane.search.steps = Empty)
}

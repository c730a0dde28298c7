//! Instruments, with buckets that fit a service that answers within a millisecond.
//!
//! Build an instrument once, after [`crate::init`], and keep it: an instrument built before belongs to no provider, and
//! never records.

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use crate::semconv;

/// Upper bounds of the latency buckets, in seconds: fine below a millisecond, where most calls end.
pub const LATENCY_BUCKETS: [f64; 20] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_75, 0.001, 0.001_5, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Makes `rpc.server.call.duration`.
pub fn rpc_server_call_duration() -> Histogram<f64> {
    latency(semconv::RPC_SERVER_CALL_DURATION, "Duration of calls, from headers to trailers")
}

/// Makes `db.client.operation.duration`.
pub fn db_client_operation_duration() -> Histogram<f64> {
    latency(semconv::DB_CLIENT_OPERATION_DURATION, "Duration of store operations")
}

/// Makes a histogram of seconds over [`LATENCY_BUCKETS`].
pub fn latency(name: &'static str, description: &'static str) -> Histogram<f64> {
    meter()
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(LATENCY_BUCKETS.to_vec())
        .build()
}

/// Makes a counter; `unit` in UCUM, with counted things in braces: `{call}`, `By`.
pub fn counter(name: &'static str, unit: &'static str, description: &'static str) -> Counter<u64> {
    meter().u64_counter(name).with_unit(unit).with_description(description).build()
}

/// Makes a counter that goes up and down, such as calls in flight.
pub fn up_down(name: &'static str, unit: &'static str, description: &'static str) -> UpDownCounter<i64> {
    meter().i64_up_down_counter(name).with_unit(unit).with_description(description).build()
}

/// Makes a gauge of a whole number, such as a state.
pub fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> Gauge<i64> {
    meter().i64_gauge(name).with_unit(unit).with_description(description).build()
}

/// Makes a gauge of a share, 0 to 1.
pub fn ratio(name: &'static str, description: &'static str) -> Gauge<f64> {
    meter().f64_gauge(name).with_unit("1").with_description(description).build()
}

/// Registers a gauge that is read whenever metrics are collected; `None` reports nothing.
pub fn observed(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: impl Fn() -> Option<i64> + Send + Sync + 'static,
) {
    let meter = meter();
    let gauge = meter.i64_observable_gauge(name).with_unit(unit).with_description(description);
    // The provider keeps it.
    let _ = gauge.with_callback(move |observer| read().into_iter().for_each(|now| observer.observe(now, &[]))).build();
}

/// Returns the meter of all Keyplane instruments.
pub fn meter() -> Meter {
    global::meter("keyplane")
}

//! Metrics: duration and outcome of every call, and the calls in flight. Labels come from the contract, never from
//! callers.

use std::sync::Arc;
use std::time::Instant;

use http::Response;
use keyplane_contracts::reasons::code_name;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, UpDownCounter};
use tonic::Code;
use tower::Service;

use super::call::Call;
use super::is_server_error;
use super::middleware::Middleware;
use super::observe::{Observed, ObservedBody, Record};

/// Measures every call; a shed one too, since this layer sits outside the shedding.
#[derive(Clone)]
pub(crate) struct Metrics {
    duration: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
}

/// Measurements of one call.
pub(crate) struct Measured {
    began: Instant,
    method: KeyValue,
    metrics: Metrics,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            duration: metrics::rpc_server_call_duration(),
            in_flight: metrics::up_down(
                semconv::KEYPLANE_SERVER_IN_FLIGHT,
                "{call}",
                "Calls being served, streams included",
            ),
        }
    }
}

impl<S, B, R> Middleware<S, Call<R>> for Metrics
where
    S: Service<Call<R>, Response = Response<B>>,
{
    type Response = Response<ObservedBody<B, Measured>>;
    type Future = Observed<S::Future, Measured>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let name = Arc::clone(&call.method.name);
        let method = KeyValue::new(semconv::RPC_METHOD, name);
        self.in_flight.add(1, std::slice::from_ref(&method));
        let record = Measured { began: Instant::now(), method, metrics: self.clone() };
        Observed::start(record, || inner.call(call))
    }
}

// === impl Measured ===

impl Record for Measured {
    fn end(&mut self, code: Code) {
        self.metrics.in_flight.add(-1, std::slice::from_ref(&self.method));
        let status = code_name(code);
        let labels = [
            self.method.clone(),
            KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::RPC_SYSTEM_GRPC),
            KeyValue::new(semconv::RPC_STATUS_CODE, status),
            KeyValue::new(semconv::ERROR_TYPE, status),
        ];
        let used = if is_server_error(code) { &labels[..] } else { &labels[..3] };
        self.metrics.duration.record(self.began.elapsed().as_secs_f64(), used);
    }
}

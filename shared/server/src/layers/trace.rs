//! Trace: one server span a call, child of the caller's, from the headers to the trailers.
//!
//! Calls without a traced caller make no span where nobody collects spans: it would cost a fifth of an empty call.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use keyplane_contracts::reasons::code_name;
use keyplane_telemetry::{propagation, semconv};
use tonic::Code;
use tower::Service;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::call::Call;
use super::is_server_error;
use super::middleware::Middleware;
use super::observe::{Observed, ObservedBody, Record};

/// Wraps every call, but health and reflection, in a span by the current RPC conventions.
#[derive(Clone)]
pub(crate) struct Trace {
    host: Arc<str>,
    port: u16,
    /// Spans are collected.
    collected: bool,
}

/// Span of a call.
pub(crate) struct SpanRecord(Span);

// === impl Trace ===

impl Trace {
    pub(crate) fn new(addr: SocketAddr, collected: bool) -> Self {
        Self { host: addr.ip().to_string().into(), port: addr.port(), collected }
    }

    fn span<R>(&self, Call { method, request }: &Call<R>) -> Span {
        let parent = request.headers().contains_key("traceparent");
        if method.built_in || !(self.collected || parent) {
            return Span::none();
        }
        let span = info_span!(
            "call",
            otel.name = &*method.name,
            otel.kind = "server",
            otel.status_code = Empty,
            { semconv::RPC_SYSTEM_NAME } = semconv::RPC_SYSTEM_GRPC,
            { semconv::RPC_METHOD } = &*method.name,
            { semconv::SERVER_ADDRESS } = &*self.host,
            { semconv::SERVER_PORT } = self.port,
            { semconv::RPC_STATUS_CODE } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        );
        if parent {
            // Fails without a collector of spans; then there is nothing to link.
            let _ = span.set_parent(propagation::extract(request.headers()));
        }
        span
    }
}

impl<S, B, R> Middleware<S, Call<R>> for Trace
where
    S: Service<Call<R>, Response = Response<B>>,
{
    type Response = Response<ObservedBody<B, SpanRecord>>;
    type Future = Observed<S::Future, SpanRecord>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let span = self.span(&call);
        Observed::start(SpanRecord(span), || inner.call(call))
    }
}

// === impl SpanRecord ===

impl Record for SpanRecord {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.in_scope(work)
    }

    fn end(&mut self, code: Code) {
        self.0.record(semconv::RPC_STATUS_CODE, code_name(code));
        if is_server_error(code) {
            self.0.record(semconv::ERROR_TYPE, code_name(code));
            self.0.record("otel.status_code", "ERROR");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::methods::Methods;
    use super::*;

    fn makes_a_span(path: &str, collected: bool, traced: bool) -> bool {
        let methods = Methods::declared(&["keyplane.session.v1.SessionService"]);
        let trace = Trace::new(([127, 0, 0, 1], 1).into(), collected);
        let method = Arc::clone(methods.find(path));
        let mut request = http::Request::new(());
        if traced {
            let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            request.headers_mut().insert("traceparent", parent.parse().unwrap());
        }
        // Nobody's spans are all disabled.
        let subscriber = tracing_subscriber::registry();
        tracing::subscriber::with_default(subscriber, || !trace.span(&Call { method, request }).is_disabled())
    }

    #[test]
    fn calls_make_spans_if_collected_or_traced() {
        let path = "/keyplane.session.v1.SessionService/GetSession";
        let made = [(true, true), (true, false), (false, true), (false, false)]
            .map(|(collected, traced)| makes_a_span(path, collected, traced));
        assert_eq!(made, [true, true, true, false]);
        assert!(!makes_a_span("/grpc.health.v1.Health/Check", true, true), "a probe makes none");
    }
}

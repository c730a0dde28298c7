//! Trace: one server span a call, child of the caller's, from the headers to the trailers.
//!
//! A call that no caller traces makes no span either where nobody collects spans: it would cost a fifth of an empty call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use keyplane_contracts::reasons::code_name;
use keyplane_telemetry::{propagation, semconv};
use tonic::Code;
use tower::Service;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::is_server_error;
use super::methods::{Method, Methods};
use super::observe::{Observed, ObservedBody, Record};

/// Wraps every call, but health and reflection, in a span by the current RPC conventions.
#[derive(Clone)]
pub(crate) struct Trace<S> {
    inner: S,
    methods: Arc<Methods>,
    host: Arc<str>,
    port: u16,
    /// Whether spans are collected.
    collected: bool,
}

/// The span of a call.
pub(crate) struct SpanRecord(Span);

// === impl Trace ===

impl<S> Trace<S> {
    pub(crate) fn new(inner: S, methods: Arc<Methods>, addr: SocketAddr, collected: bool) -> Self {
        Self { inner, methods, host: addr.ip().to_string().into(), port: addr.port(), collected }
    }

    fn span<R>(&self, method: &Method, request: &Request<R>) -> Span {
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
            // Fails when nobody listens to spans; then there is nothing to link.
            let _ = span.set_parent(propagation::extract(request.headers()));
        }
        span
    }
}

impl<S, B, R> Service<Request<R>> for Trace<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<ObservedBody<B, SpanRecord>>;
    type Error = S::Error;
    type Future = Observed<S::Future, SpanRecord>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let span = self.span(self.methods.find(request.uri().path()), &request);
        Observed::start(SpanRecord(span), || self.inner.call(request))
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
    use super::*;

    fn makes_a_span(path: &str, collected: bool, traced: bool) -> bool {
        let methods = Methods::declared(&["keyplane.session.v1.SessionService"]);
        let trace = Trace::new((), methods.into(), ([127, 0, 0, 1], 1).into(), collected);
        let mut request = Request::new(());
        if traced {
            let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            request.headers_mut().insert("traceparent", parent.parse().unwrap());
        }
        // Nobody's spans are all disabled.
        let subscriber = tracing_subscriber::registry();
        tracing::subscriber::with_default(subscriber, || !trace.span(trace.methods.find(path), &request).is_disabled())
    }

    #[test]
    fn a_span_is_for_those_who_collect_it_or_trace_the_call() {
        let path = "/keyplane.session.v1.SessionService/GetSession";
        let made = [(true, true), (true, false), (false, true), (false, false)]
            .map(|(collected, traced)| makes_a_span(path, collected, traced));
        assert_eq!(made, [true, true, true, false]);
        assert!(!makes_a_span("/grpc.health.v1.Health/Check", true, true), "a probe makes none");
    }
}

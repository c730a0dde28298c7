//! Trace: one server span a call, child of the caller's, from the headers to the trailers.
//!
//! A call that no caller traces makes no span either where nobody collects spans: it would cost a fifth of an empty call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use keyplane_telemetry::{propagation, semconv};
use tonic::Code;
use tower::Service;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::methods::{Method, Methods};
use super::observe::{Observed, ObservedBody, Record};
use super::{code_name, is_server_error};

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

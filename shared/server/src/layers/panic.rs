//! Panic guard: a handler that panics costs its own call, never the connection or the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use keyplane_contracts::reasons::kit;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Counter;
use pin_project_lite::pin_project;
use tonic::Status;
use tower::Service;

use super::call::Call;
use super::middleware::Middleware;
use crate::errors;

/// Turns a panic below it into INTERNAL.
#[derive(Clone)]
pub(crate) struct PanicGuard {
    panics: Counter<u64>,
}

pin_project! {
    /// Call under guard.
    pub(crate) struct Guarded<F> {
        #[pin]
        inner: Option<F>,
        report: Report,
    }
}

pin_project! {
    /// Response under guard. Without an inner body it is at its end.
    pub(crate) struct GuardedBody<B> {
        #[pin]
        inner: Option<B>,
        report: Report,
    }
}

#[derive(Clone)]
struct Report {
    method: Arc<str>,
    panics: Counter<u64>,
}

// === impl PanicGuard ===

impl PanicGuard {
    pub(crate) fn new() -> Self {
        let panics = metrics::counter(semconv::KEYPLANE_SERVER_PANICS, "{call}", "Calls whose handler panicked");
        Self { panics }
    }
}

impl<S, B, R> Middleware<S, Call<R>> for PanicGuard
where
    S: Service<Call<R>, Response = Response<B>>,
{
    type Response = Response<GuardedBody<B>>;
    type Future = Guarded<S::Future>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let method = Arc::clone(&call.method.name);
        let report = Report { method, panics: self.panics.clone() };
        let inner = match catch_unwind(AssertUnwindSafe(|| inner.call(call))) {
            Ok(future) => Some(future),
            Err(panic) => {
                report.log(panic.as_ref());
                None
            }
        };
        Guarded { inner, report }
    }
}

// === impl Guarded ===

impl<F, B, E> Future for Guarded<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GuardedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(panicked_response(this.report)));
        };
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(polled) => polled.map_ok(|response| {
                response.map(|inner| GuardedBody { inner: Some(inner), report: this.report.clone() })
            }),
            Err(panic) => {
                this.report.log(panic.as_ref());
                // Ends the span and the metrics of the call before the answer goes out.
                this.inner.set(None);
                Poll::Ready(Ok(panicked_response(this.report)))
            }
        }
    }
}

// === impl GuardedBody ===

impl<B: Body<Data = Bytes>> Body for GuardedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                this.report.log(panic.as_ref());
                this.inner.set(None);
                Poll::Ready(Some(Ok(Frame::trailers(errors::trailers(&panicked())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

// === impl Report ===

impl Report {
    fn log(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(rpc.method = &*self.method, panic = text.unwrap_or("not a text"), "handler panicked");
        self.panics.add(1, &[]);
    }
}

fn panicked() -> Status {
    errors::plain(&kit::INTERNAL, "internal error")
}

fn panicked_response<B>(report: &Report) -> Response<GuardedBody<B>> {
    panicked().into_http::<()>().map(|()| GuardedBody { inner: None, report: report.clone() })
}

//! Observation of a call, from its headers to its trailers: a record learns its code, however the call ends.
//!
//! Abandoned calls are dropped, not finished: their record ends on drop, as CANCELLED. A call whose handler panics is
//! dropped too, but its code was set to INTERNAL before the poll that never returned.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;

/// Record of a call. Implemented by the trace layer and the metrics layer.
pub(crate) trait Record {
    /// Runs each piece of the call's work.
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// Ends the record. Called once.
    fn end(&mut self, code: Code);
}

/// Call in flight; dropping it ends its record.
pub(crate) struct Ongoing<R: Record> {
    record: R,
    code: Code,
}

pin_project! {
    /// Call until its response headers.
    pub(crate) struct Observed<F, R: Record> {
        #[pin]
        inner: F,
        call: Option<Ongoing<R>>,
    }
}

pin_project! {
    /// Call until its trailers.
    pub(crate) struct ObservedBody<B, R: Record> {
        #[pin]
        inner: B,
        call: Option<Ongoing<R>>,
    }
}

// === impl Ongoing ===

impl<R: Record> Ongoing<R> {
    fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.code = Code::Internal;
        let done = self.record.within(work);
        self.code = Code::Cancelled;
        done
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl<R: Record> Drop for Ongoing<R> {
    fn drop(&mut self) {
        self.record.end(self.code);
    }
}

// === impl Observed ===

impl<F, R: Record> Observed<F, R> {
    /// Makes the call's future within its record.
    pub(crate) fn start(record: R, make: impl FnOnce() -> F) -> Self {
        let mut call = Ongoing { record, code: Code::Cancelled };
        let inner = call.work(make);
        Self { inner, call: Some(call) }
    }
}

impl<F, B, E, R> Future for Observed<F, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    R: Record,
{
    type Output = Result<Response<ObservedBody<B, R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.call.as_mut() {
            Some(call) => call.work(|| this.inner.poll(cx)),
            None => this.inner.poll(cx),
        };
        let result = ready!(polled);
        let mut call = this.call.take();
        match result {
            Ok(response) => {
                if let Some(code) = status_in(response.headers())
                    && let Some(call) = call.take()
                {
                    call.end(code);
                }
                Poll::Ready(Ok(response.map(|inner| ObservedBody { inner, call })))
            }
            Err(error) => {
                if let Some(call) = call {
                    call.end(Code::Unknown);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

// === impl ObservedBody ===

impl<B: Body, R: Record> Body for ObservedBody<B, R> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let polled = match this.call.as_mut() {
            Some(call) => call.work(|| this.inner.poll_frame(cx)),
            None => this.inner.poll_frame(cx),
        };
        let frame = ready!(polled);
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| status_in(trailers).unwrap_or(Code::Unknown)),
            Some(Err(_)) | None => Some(Code::Unknown),
        };
        if let Some(code) = ended
            && let Some(call) = this.call.take()
        {
            call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn status_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

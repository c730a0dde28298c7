//! Ending: the kit's own streams (health watch, reflection) end when the drain starts; no client ends them itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use keyplane_contracts::reasons::kit;
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::methods::Methods;
use super::panic::trailers;
use crate::errors;

/// Ends built-in streams at `drain`. A service's own streams watch [`crate::Drain`] and end in their own words.
#[derive(Clone)]
pub(crate) struct Ending<S> {
    inner: S,
    methods: Arc<Methods>,
    drain: CancellationToken,
}

pin_project! {
    /// A call of a built-in stream when `drain` is there, else any.
    pub(crate) struct Ended<F> {
        #[pin]
        inner: F,
        drain: Option<CancellationToken>,
    }
}

pin_project! {
    struct EndingBody {
        #[pin]
        inner: Body,
        #[pin]
        drain: WaitForCancellationFutureOwned,
        over: bool,
    }
}

// === impl Ending ===

impl<S> Ending<S> {
    pub(crate) fn new(inner: S, methods: Arc<Methods>, drain: CancellationToken) -> Self {
        Self { inner, methods, drain }
    }
}

impl<S, R> Service<Request<R>> for Ending<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Ended<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let method = self.methods.find(request.uri().path());
        let drain = (method.built_in && method.streams).then(|| self.drain.clone());
        Ended { inner: self.inner.call(request), drain }
    }
}

// === impl Ended ===

impl<F, E> Future for Ended<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        Poll::Ready(match this.drain.take() {
            Some(drain) => response.map(|response| {
                response.map(|inner| Body::new(EndingBody { inner, drain: drain.cancelled_owned(), over: false }))
            }),
            None => response,
        })
    }
}

// === impl EndingBody ===

impl http_body::Body for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        // What waits goes out first: a watcher must still hear NOT_SERVING.
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if this.drain.poll(cx).is_ready() {
            *this.over = true;
            let status = errors::plain(&kit::SHUTTING_DOWN, "the server shuts down: connect again");
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

//! Load shed: a call that finds no room is turned away at once, while the caller can still go elsewhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use keyplane_contracts::reasons::kit;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Counter;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::methods::Methods;
use crate::errors;

/// Bounds the handlers that run at a time over all connections. Health and reflection always pass.
///
/// A call counts until its response headers: a stream that is watched for hours would else hold its place for ever.
#[derive(Clone)]
pub(crate) struct Shed<S> {
    inner: S,
    methods: Arc<Methods>,
    room: Arc<Semaphore>,
    shed: Counter<u64>,
}

pin_project! {
    /// A call that has its place, or the answer to one that has none.
    #[project = AdmittedProj]
    pub(crate) enum Admitted<F> {
        In { #[pin] inner: F, place: Option<OwnedSemaphorePermit> },
        Out,
    }
}

// === impl Shed ===

impl<S> Shed<S> {
    pub(crate) fn new(inner: S, methods: Arc<Methods>, room: Arc<Semaphore>) -> Self {
        let shed = metrics::counter(semconv::KEYPLANE_SERVER_SHED, "{call}", "Calls turned away for want of room");
        Self { inner, methods, room, shed }
    }
}

impl<S, R> Service<Request<R>> for Shed<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Admitted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        if self.methods.find(request.uri().path()).built_in {
            return Admitted::In { inner: self.inner.call(request), place: None };
        }
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => Admitted::In { inner: self.inner.call(request), place: Some(place) },
            Err(_) => {
                self.shed.add(1, &[]);
                Admitted::Out
            }
        }
    }
}

// === impl Admitted ===

impl<F, E> Future for Admitted<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AdmittedProj::In { inner, place } => {
                let result = ready!(inner.poll(cx));
                drop(place.take());
                Poll::Ready(result)
            }
            AdmittedProj::Out => Poll::Ready(Ok(overloaded().into_http())),
        }
    }
}

fn overloaded() -> Status {
    let message = "the server handles as many calls as it can: repeat the call later or elsewhere";
    errors::plain(&kit::OVERLOADED, message)
}

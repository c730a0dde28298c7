//! Load shed: rejects a call that finds no room at once, while the caller can still go elsewhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use keyplane_contracts::reasons::kit;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Counter;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::middleware::Middleware;
use crate::errors;

/// Bounds the handlers that run at a time over all connections. Health and reflection always pass.
///
/// Calls count until their response headers: a stream that lives for hours would else hold its place for ever.
#[derive(Clone)]
pub(crate) struct Shed {
    room: Arc<Semaphore>,
    shed: Counter<u64>,
}

pin_project! {
    /// Call that has its place, or the answer to one that has none.
    #[project = AdmittedProj]
    pub(crate) enum Admitted<F> {
        In { #[pin] inner: F, place: Option<OwnedSemaphorePermit> },
        Out,
    }
}

// === impl Shed ===

impl Shed {
    pub(crate) fn new(room: Arc<Semaphore>) -> Self {
        let shed = metrics::counter(semconv::KEYPLANE_SERVER_SHED, "{call}", "Calls rejected for want of room");
        Self { room, shed }
    }
}

impl<S, R> Middleware<S, Call<R>> for Shed
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Future = Admitted<S::Future>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        if call.method.built_in {
            return Admitted::In { inner: inner.call(call), place: None };
        }
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => Admitted::In { inner: inner.call(call), place: Some(place) },
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

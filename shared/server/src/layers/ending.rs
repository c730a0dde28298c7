//! Ending: the kit's own streams (health watch, reflection) end when the drain starts; no client ends them itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use keyplane_contracts::reasons::kit;
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::middleware::Middleware;
use super::until::Until;
use crate::errors;

/// Ends built-in streams at `drain`. A service's own streams watch [`crate::Drain`] and end with a status of their own.
#[derive(Clone)]
pub(crate) struct Ending(pub(crate) CancellationToken);

pin_project! {
    /// Call of a built-in stream if `drain` is set, else any call.
    pub(crate) struct Ended<F> {
        #[pin]
        inner: F,
        drain: Option<CancellationToken>,
    }
}

// === impl Ending ===

impl<S, R> Middleware<S, Call<R>> for Ending
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Future = Ended<S::Future>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let drain = (call.method.built_in && call.method.streams).then(|| self.0.clone());
        Ended { inner: inner.call(call), drain }
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
            Some(drain) => response.map(|response| response.map(|body| Body::new(Until::new(body, drained(drain))))),
            None => response,
        })
    }
}

async fn drained(drain: CancellationToken) -> tonic::Status {
    drain.cancelled_owned().await;
    errors::plain(&kit::SHUTTING_DOWN, "the server shuts down: connect again")
}

//! Middleware: what each layer does with a call, without the plumbing that all of them share.

use std::task::{Context, Poll};

use tower::Service;

/// Work around a service's calls.
pub(crate) trait Middleware<S: Service<Q>, Q> {
    /// Response to the outside.
    type Response;
    /// Call in flight.
    type Future: Future<Output = Result<Self::Response, S::Error>>;

    /// Handles a call. `inner` is ready for one call.
    fn handle(&mut self, inner: &mut S, request: Q) -> Self::Future;
}

/// Layer that puts a middleware around a service.
#[derive(Clone)]
pub(crate) struct Layer<M>(pub(crate) M);

/// Service inside its middleware.
#[derive(Clone)]
pub(crate) struct Wrapped<S, M> {
    inner: S,
    middleware: M,
}

// === impl Layer ===

impl<S, M: Clone> tower::Layer<S> for Layer<M> {
    type Service = Wrapped<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Wrapped { inner, middleware: self.0.clone() }
    }
}

// === impl Wrapped ===

impl<S: Service<Q>, M: Middleware<S, Q>, Q> Service<Q> for Wrapped<S, M> {
    type Response = M::Response;
    type Error = S::Error;
    type Future = M::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        self.middleware.handle(&mut self.inner, request)
    }
}

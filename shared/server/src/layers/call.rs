//! Call: a request with its method, which is looked up once, outside of all layers.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use super::methods::{Method, Methods};

/// Request with its method, as the layers pass it on.
pub(crate) struct Call<R> {
    pub(crate) method: Arc<Method>,
    pub(crate) request: Request<R>,
}

/// Turns a request into a [`Call`]: outermost of the layers.
#[derive(Clone)]
pub(crate) struct Named<S> {
    inner: S,
    methods: Arc<Methods>,
}

/// Turns a [`Call`] back into its request: around what knows requests alone.
#[derive(Clone)]
pub(crate) struct Unnamed<S> {
    inner: S,
}

// === impl Named ===

impl<S> Named<S> {
    pub(crate) fn new(inner: S, methods: Arc<Methods>) -> Self {
        Self { inner, methods }
    }
}

impl<S, R> Service<Request<R>> for Named<S>
where
    S: Service<Call<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let method = Arc::clone(self.methods.find(request.uri().path()));
        self.inner.call(Call { method, request })
    }
}

// === impl Unnamed ===

impl<S> Unnamed<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, R> Service<Call<R>> for Unnamed<S>
where
    S: Service<Request<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<R>) -> Self::Future {
        self.inner.call(call.request)
    }
}

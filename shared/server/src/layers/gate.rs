//! Gate: no call reaches a handler before the start check has passed. The port is open by then, since health is served on
//! it; but a handler could write into a store of another layout, or run half a script on an engine that lacks the
//! other half.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::Either;
use http::{Request, Response};
use keyplane_contracts::reasons::kit;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::methods::Methods;
use crate::errors;

/// Shut until the start check has passed, then open for good. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<State>);

struct State {
    open: AtomicBool,
    /// What callers are told meanwhile.
    refusal: watch::Sender<Status>,
}

/// Turns calls away while the gate is shut. Health and reflection always pass.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    inner: S,
    methods: Arc<Methods>,
    gate: Gate,
}

// === impl Gate ===

impl Gate {
    /// A gate that is shut: nothing is known of the store yet.
    pub(crate) fn shut() -> Gate {
        let message = "the service has just started and does not know its store yet: repeat the call";
        let starting = errors::plain(&kit::STARTING, message);
        Gate(Arc::new(State { open: AtomicBool::new(false), refusal: watch::Sender::new(starting) }))
    }

    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    /// Callers are told `status` from now on, unless the gate is open.
    pub(crate) fn tell(&self, status: Status) {
        self.0.refusal.send_replace(status);
    }

    fn refusal(&self) -> Option<Status> {
        if self.0.open.load(Ordering::Acquire) { None } else { Some(self.0.refusal.borrow().clone()) }
    }
}

// === impl Gated ===

impl<S> Gated<S> {
    pub(crate) fn new(inner: S, methods: Arc<Methods>, gate: Gate) -> Self {
        Self { inner, methods, gate }
    }
}

impl<S, R> Service<Request<R>> for Gated<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let exempt = self.methods.find(request.uri().path()).built_in;
        match self.gate.refusal() {
            Some(status) if !exempt => Either::Right(ready(Ok(status.into_http()))),
            Some(_) | None => Either::Left(self.inner.call(request)),
        }
    }
}

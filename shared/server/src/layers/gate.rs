//! Gate: keeps calls from handlers until the start check has passed.
//!
//! The port is open by then, since it serves health. But a handler could write into a store of another layout, or run half
//! a script on an engine that lacks the other half.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::Either;
use http::Response;
use keyplane_contracts::reasons::kit;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::middleware::Middleware;
use crate::errors;

/// Rejects calls until the start check has passed, then is open for good. Health and reflection always pass. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<State>);

struct State {
    open: AtomicBool,
    /// Answer to calls meanwhile.
    rejection: watch::Sender<Status>,
}

// === impl Gate ===

impl Gate {
    /// Makes a gate that is shut: nothing is known of the store yet.
    pub(crate) fn shut() -> Gate {
        let message = "the service has just started and does not know its store yet: repeat the call";
        let starting = errors::plain(&kit::STARTING, message);
        Gate(Arc::new(State { open: AtomicBool::new(false), rejection: watch::Sender::new(starting) }))
    }

    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    /// Answers calls with `status` from now on, unless the gate is open.
    pub(crate) fn reject_with(&self, status: Status) {
        self.0.rejection.send_replace(status);
    }

    fn rejection(&self) -> Option<Status> {
        if self.0.open.load(Ordering::Acquire) { None } else { Some(self.0.rejection.borrow().clone()) }
    }
}

impl<S, R> Middleware<S, Call<R>> for Gate
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let exempt = call.method.built_in;
        match self.rejection() {
            Some(status) if !exempt => Either::Right(ready(Ok(status.into_http()))),
            Some(_) | None => Either::Left(inner.call(call)),
        }
    }
}

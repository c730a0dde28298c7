use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use keyplane_telemetry::propagation;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::failure;

/// A connection to a service, for any generated client. Cheap to clone.
///
/// Adds `traceparent` of the current span. A call that fails for want of a connection is UNAVAILABLE, one whose
/// deadline passes is DEADLINE_EXCEEDED; `ErrorInfo` says whether the service can have seen it.
///
/// Cancel safe in that nothing breaks; the service may carry out the call all the same.
#[derive(Clone, Debug)]
pub struct Channel(tonic::transport::Channel);

// === impl Channel ===

impl Channel {
    /// Wraps tonic's own, however it connects.
    #[must_use]
    pub fn new(channel: tonic::transport::Channel) -> Channel {
        Channel(channel)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx).map_err(|error| failure::status(&error))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        propagation::inject_current(request.headers_mut());
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map_err(|error| failure::status(&error)) })
    }
}

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use keyplane_telemetry::propagation;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Endpoint;
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

/// What a service may send ahead on a connection. Half of it is room for answers that nobody has read yet, 256 bytes each:
/// past that h2 takes them for an attack and breaks the connection with all its calls.
const WINDOW: u32 = 4 << 20;

// === impl Channel ===

impl Channel {
    /// A connection that is made at the first call, and again after each loss. Making it may take `connect`; a peer that is
    /// silent for `silence`, and then does not answer a ping for as long, counts as gone. To be called within a runtime.
    #[must_use]
    pub fn lazy(endpoint: Endpoint, connect: Duration, silence: Duration) -> Channel {
        let endpoint = endpoint
            .connect_timeout(connect)
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW)
            .http2_keep_alive_interval(silence)
            .keep_alive_timeout(silence)
            .keep_alive_while_idle(true);
        Channel::new(endpoint.connect_lazy())
    }

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

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

/// Connection to a service, for any generated client. Cheap to clone.
///
/// Adds `traceparent` of the current span. A call without a connection is UNAVAILABLE, one whose deadline passes is
/// DEADLINE_EXCEEDED; `ErrorInfo` states whether the service can have seen the call.
///
/// Dropping a call is safe; the service may still carry it out.
#[derive(Clone, Debug)]
pub struct Channel(tonic::transport::Channel);

/// Flow-control window of a connection, in bytes. Half of it is room for unread answers, 256 bytes each: beyond that h2
/// suspects an attack and breaks the connection with all its calls.
const WINDOW: u32 = 4 << 20;

// === impl Channel ===

impl Channel {
    /// Connection that is made at the first call, and again after each loss. An attempt may take `connect`. A peer that is
    /// silent for `silence`, and then leaves a ping unanswered for as long, counts as lost.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
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

    /// Wraps a channel of tonic's, however it connects.
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

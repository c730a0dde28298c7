//! Event source: makes a browser's EventSource reconnect, with its Last-Event-ID, after a watch that cannot begin now.
//!
//! An EventSource gives up for good on any status but 200 (WHATWG HTML, section 9.2.3). A watch that was rejected, but may
//! begin a moment later, is answered with a stream that ends at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::Service;

use super::call::Call;
use super::middleware::Middleware;
use crate::errors::trailers;
use crate::sse;

/// Answers EventSources; other calls pass through. The trailers keep the true status, for traces and metrics.
#[derive(Clone)]
pub(crate) struct EventSource;

pin_project! {
    pub(crate) struct Answered<F> {
        #[pin]
        inner: F,
        is_event_source: bool,
    }
}

// === impl EventSource ===

impl<S, R> Middleware<S, Call<R>> for EventSource
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Future = Answered<S::Future>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let is_event_source = call.method.streams_text && accepts(call.request.headers());
        Answered { inner: inner.call(call), is_event_source }
    }
}

// === impl Answered ===

impl<F, E> Future for Answered<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let rejected = this.is_event_source.then(|| Status::from_header_map(response.headers())).flatten();
        Poll::Ready(Ok(match rejected {
            Some(status) if may_come_again(&status) => stream_of(&status),
            Some(_) | None => response,
        }))
    }
}

fn accepts(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains(sse::CONTENT_TYPE))
}

fn may_come_again(status: &Status) -> bool {
    let passes = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
    passes && status.get_details_retry_info().is_some()
}

fn stream_of(status: &Status) -> Response<Body> {
    let frames = [Frame::data(grpc_frame(&sse::come_again(status))), Frame::trailers(trailers(status))];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Status>)));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    response
}

/// Frames a message for gRPC: not compressed, its length, its bytes.
fn grpc_frame(message: &impl prost::Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message.encode_to_vec());
    frame.freeze()
}

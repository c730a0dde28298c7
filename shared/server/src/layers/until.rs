//! Body of a response that ends early, with a status of the kit.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;

use crate::errors::trailers;

pin_project! {
    /// Body that ends with the status of `end` once that resolves.
    pub(super) struct Until<F> {
        #[pin]
        inner: tonic::body::Body,
        #[pin]
        end: F,
        over: bool,
    }
}

// === impl Until ===

impl<F> Until<F> {
    pub(super) fn new(inner: tonic::body::Body, end: F) -> Self {
        Self { inner, end, over: false }
    }
}

impl<F: Future<Output = Status>> Body for Until<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        // Frames that are ready go out first: a health watch must still report NOT_SERVING.
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        this.end.poll(cx).map(|status| {
            *this.over = true;
            Some(Ok(Frame::trailers(trailers(&status))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

//! Spelling: callers that send JSON read field names in camelCase, as they write them.

use std::task::{Context, Poll};

use futures::future::Either;
use http::Request;
use tokio::task::futures::TaskLocalFuture;
use tower::Service;

use super::bound::ORIGINAL_PATH;
use crate::errors;

/// Marks calls of JSON callers for [`errors::status`].
#[derive(Clone)]
pub(crate) struct Spelling<S> {
    inner: S,
}

// === impl Spelling ===

impl<S> Spelling<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, R> Service<Request<R>> for Spelling<S>
where
    S: Service<Request<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<TaskLocalFuture<(), S::Future>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let is_json = request.headers().contains_key(ORIGINAL_PATH);
        let call = self.inner.call(request);
        if is_json { Either::Left(errors::json_caller(call)) } else { Either::Right(call) }
    }
}

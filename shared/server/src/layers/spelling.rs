//! Spelling: callers that send JSON read field names in camelCase, as they write them.

use std::task::{Context, Poll};

use futures::future::Either;
use tokio::task::futures::TaskLocalFuture;
use tower::Service;

use super::bound::ORIGINAL_PATH;
use super::call::Call;
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

impl<S, R> Service<Call<R>> for Spelling<S>
where
    S: Service<Call<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<TaskLocalFuture<(), S::Future>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<R>) -> Self::Future {
        let is_json = call.request.headers().contains_key(ORIGINAL_PATH);
        let answer = self.inner.call(call);
        if is_json { Either::Left(errors::json_caller(answer)) } else { Either::Right(answer) }
    }
}

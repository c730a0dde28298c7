//! Spelling: callers that send JSON read field names in camelCase, as they write them.

use futures::future::Either;
use tokio::task::futures::TaskLocalFuture;
use tower::Service;

use super::bound::ORIGINAL_PATH;
use super::call::Call;
use super::middleware::Middleware;
use crate::errors;

/// Marks calls of JSON callers for [`errors::status`].
#[derive(Clone)]
pub(crate) struct Spelling;

// === impl Spelling ===

impl<S, R> Middleware<S, Call<R>> for Spelling
where
    S: Service<Call<R>>,
{
    type Response = S::Response;
    type Future = Either<TaskLocalFuture<(), S::Future>, S::Future>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let is_json = call.request.headers().contains_key(ORIGINAL_PATH);
        let answer = inner.call(call);
        if is_json { Either::Left(errors::json_caller(answer)) } else { Either::Right(answer) }
    }
}

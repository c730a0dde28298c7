//! Deadline: every unary call has one, and a call that passes it gets DEADLINE_EXCEEDED, with details.
//!
//! tonic has a timer of its own around all layers, which answers CANCELLED, and so has its client. A caller's deadline
//! is therefore cut by a tenth, at most ten milliseconds. Our timer fires first, and its answer arrives while the caller
//! still listens.

use std::pin::Pin;
use std::time::Duration;

use http::{HeaderMap, Response};
use keyplane_contracts::reasons::kit;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::methods::Method;
use super::middleware::Middleware;
use super::until::Until;
use crate::config::Deadlines;
use crate::errors;

/// Least time that a call needs. With less, nothing is begun: it would fail half-way, for a reason that misleads.
const LEAST: Duration = Duration::from_millis(1);

/// Longest time by which our timer fires before the caller's.
const HEAD_START: Duration = Duration::from_millis(10);

/// Puts each call under its deadline, which the store respects.
#[derive(Clone)]
pub(crate) struct Deadline(pub(crate) Deadlines);

// === impl Deadline ===

impl Deadline {
    /// Returns the longest duration of a call; none for streams and built-in services whose caller sets no limit.
    fn limit(&self, method: &Method, headers: &HeaderMap) -> Option<Duration> {
        let limit = grpc_timeout(headers).map(|timeout| timeout - HEAD_START.min(timeout / 10));
        if method.streams || method.built_in {
            return limit;
        }
        Some(limit.unwrap_or(self.0.default).min(self.0.max))
    }
}

impl<S, R> Middleware<S, Call<R>> for Deadline
where
    S: Service<Call<R>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    // The store's deadline is a task-local scope, whose type has no name.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let streams = call.method.streams;
        let limit = self.limit(&call.method, call.request.headers());
        if limit.is_some_and(|limit| limit < LEAST) {
            return Box::pin(async { Ok(too_short().into_http()) });
        }
        let inner = inner.call(call);
        let Some(limit) = limit else {
            return Box::pin(inner);
        };
        let deadline = Instant::now() + limit;
        Box::pin(async move {
            match timeout_at(deadline, keyplane_deadline::scope(deadline, inner)).await {
                Ok(Ok(response)) if streams => {
                    Ok(response.map(|body| Body::new(Until::new(body, timed_out(deadline)))))
                }
                Ok(result) => result,
                Err(_) => Ok(exceeded().into_http()),
            }
        })
    }
}

/// Status of a stream whose deadline passes.
async fn timed_out(deadline: Instant) -> Status {
    sleep_until(deadline).await;
    exceeded()
}

fn too_short() -> Status {
    let message = "the call's deadline is too short for an answer: nothing was done; give it some milliseconds";
    errors::plain(&kit::DEADLINE_EXCEEDED, message)
}

fn exceeded() -> Status {
    let message = "the call did not finish before its deadline: a write may or may not have happened";
    errors::plain(&kit::DEADLINE_EXCEEDED, message)
}

/// Reads `grpc-timeout`: up to eight digits and a unit. A malformed one counts as none, as it does for tonic.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn timeouts_on_the_wire() {
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse("1S"), Some(Duration::from_secs(1)));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789m", "1.5S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

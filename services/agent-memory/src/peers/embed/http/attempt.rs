//! Attempts of one request: a deadline for all, a shorter one for each, and pauses between them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::reply::Reply;
use super::{EmbedError, Http};

/// Most attempts of a request.
const ATTEMPTS: u32 = 4;
/// Pause before the second attempt; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest reply: 64 vectors of 4,096 numbers in text take some 5 MiB.
const REPLY: usize = 16 * 1024 * 1024;

/// Failed attempt.
struct Failure {
    error: EmbedError,
    retry: Retry,
}

/// Use of another attempt.
enum Retry {
    Never,
    /// After the usual pause.
    Soon,
    /// After the pause that the endpoint wants.
    After(Duration),
}

/// Sends `body` until the endpoint accepts it. Embeddings may be asked for twice without harm.
pub(super) async fn attempts(
    http: &Http,
    body: serde_json::Value,
    until: Instant,
    limit: Duration,
) -> Result<Reply, EmbedError> {
    let late = || EmbedError::Deadline(limit);
    // The semaphore is never closed.
    let _turn = timeout_at(until, http.requests.acquire()).await.map_err(|_| late())?;
    let body = Bytes::from(body.to_string());
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let failure = match one(http, body.clone(), until, attempt).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        let wait = match failure.retry {
            Retry::Soon if attempt < ATTEMPTS => pause.mul_f64(jitter()),
            Retry::After(wait) if attempt < ATTEMPTS => wait.max(pause),
            Retry::Never | Retry::Soon | Retry::After(_) => return Err(failure.error),
        };
        if Instant::now() + wait >= until {
            return Err(failure.error);
        }
        sleep(wait).await;
        (pause, attempt) = (pause * 2, attempt + 1);
    }
}

/// One attempt; but for the last one it takes half of the remaining time at most, so that another one fits.
async fn one(http: &Http, body: Bytes, until: Instant, attempt: u32) -> Result<Reply, Failure> {
    let remaining = until.saturating_duration_since(Instant::now());
    let share = if attempt < ATTEMPTS { remaining / 2 } else { remaining };
    let request = request(http, body).await.map_err(Failure::never)?;
    match timeout(share, exchange(http, request)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::soon(format!("it did not answer within {} ms", share.as_millis()))),
    }
}

async fn request(http: &Http, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http.uri.clone();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(path) = &http.key_file {
        let key = tokio::fs::read_to_string(path).await;
        let key = key.map_err(|error| format!("the key file {} cannot be read: {error}", path.display()))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
        let mut value = value.map_err(|_| {
            format!("the key file {} holds characters that no header may have; write one line of ASCII", path.display())
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn exchange(http: &Http, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
    let response = http.client.send(request).await;
    let response = response.map_err(|error| Failure::soon(causes(&error)))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, REPLY).collect().await;
    let body = body.map_err(|error| Failure::soon(format!("its reply broke off or exceeds {REPLY} bytes: {error}")))?;
    match head.status {
        StatusCode::OK => Reply::parse(&body.to_bytes()).map_err(Failure::never),
        status => Err(Failure::status(status, &head.headers)),
    }
}

// === impl Failure ===

impl Failure {
    fn never(detail: String) -> Failure {
        Failure { error: EmbedError::Unavailable(detail), retry: Retry::Never }
    }

    fn soon(detail: String) -> Failure {
        Failure { error: EmbedError::Unavailable(detail), retry: Retry::Soon }
    }

    /// Refusal. Its body may repeat the texts, so only the status is told.
    fn status(status: StatusCode, headers: &HeaderMap) -> Failure {
        let mend = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check the key file of the space",
            StatusCode::NOT_FOUND => "; check the URL and the model of the space",
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
                "; check the model, and whether the texts fit its input"
            }
            _ => "",
        };
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        let retry = match (busy || status.is_server_error(), retry_after(headers)) {
            (false, _) => Retry::Never,
            (true, Some(wait)) => Retry::After(wait),
            (true, None) => Retry::Soon,
        };
        Failure { error: EmbedError::Unavailable(format!("it answered {status}{mend}")), retry }
    }
}

/// Pause in seconds from the header; dates are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Factor from 0.5 to 1.5, so that instances do not retry in step.
fn jitter() -> f64 {
    getrandom::u32().map_or(1.0, |number| 0.5 + f64::from(number) / f64::from(u32::MAX))
}

/// Error with its causes: the outermost of hyper's says little.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

//! From an error of a service to what the caller gets: AIP-193 details on every status.

mod caps;
mod if_match;
mod names;
mod store;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
pub use caps::TRAILERS;
pub use if_match::{IF_MATCH, if_match};
use keyplane_contracts::Violation;
use keyplane_contracts::google::rpc;
pub(crate) use names::json_caller;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "keyplane.dev";

/// The reason where a call's deadline passed.
pub(crate) const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";

/// How an error of a service looks to its callers. Implementations match without a `_` arm.
pub trait ServiceError: std::error::Error {
    /// The gRPC status code.
    fn code(&self) -> Code;

    /// `ErrorInfo.reason`: `UPPER_SNAKE`, at most 63 characters, part of the contract.
    fn reason(&self) -> &'static str;

    /// The message that goes out. It defaults to `Display`; override it where that tells of internals.
    fn message(&self) -> String {
        self.to_string()
    }

    /// `RetryInfo`: when a repeat makes sense.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// `BadRequest`: each field that breaks a rule.
    fn violations(&self) -> &[Violation] {
        &[]
    }

    /// `ErrorInfo.metadata`: what in the message is dynamic, for programs.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// `QuotaFailure`: whose limit it is, and what the limit says.
    fn quota(&self) -> Option<(String, String)> {
        None
    }
}

/// The one way from an error to a status: code, message, `ErrorInfo`, and the details that the error has. Violations name fields
/// in the spelling of the current call's caller.
///
/// All of it is capped, so that the trailers stay under [`TRAILERS`]: of many violations the first 20 are listed, and the
/// message says how many more there are.
///
/// What lies behind an internal error is logged (at most six times a minute, with a count of those left out) and never
/// sent.
pub fn status<E: ServiceError>(error: E) -> Status {
    let code = error.code();
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        log_internal(&error);
    }
    let mut details = info(error.reason(), caps::metadata(error.metadata()));
    let (message, violations) = names::spelled(error.message(), error.violations());
    let violations = caps::violations(&violations);
    let message = caps::message(&message, violations.len(), error.violations().len());
    for (field, description) in violations {
        details.add_bad_request_violation(field, description);
    }
    if let Some(after) = error.retry_after() {
        details.set_retry_info(Some(after));
    }
    if let Some((subject, description)) = error.quota() {
        details.add_quota_failure_violation(caps::description(&subject), caps::description(&description));
    }
    finish(code, message, details)
}

/// An error of one item of a batch, whose call succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// The gRPC status code.
    pub code: Code,
    /// Name of the code.
    pub status: &'static str,
    /// See [`ServiceError::reason`].
    pub reason: &'static str,
    /// The message, capped and spelled as that of [`status`].
    pub message: String,
}

/// The error of an item, as [`status`] makes it of the error of a call.
pub fn item_error<E: ServiceError>(error: &E) -> ItemError {
    let code = error.code();
    let (message, violations) = names::spelled(error.message(), error.violations());
    let listed = caps::violations(&violations).len();
    let message = caps::message(&message, listed, violations.len());
    ItemError { code, status: code_name(code), reason: error.reason(), message }
}

/// A status of the kit itself: with `ErrorInfo`, and with `RetryInfo` when `retry_after` is given.
pub(crate) fn plain(code: Code, message: &str, reason: &'static str, retry_after: Option<Duration>) -> Status {
    let mut details = info(reason, HashMap::new());
    if let Some(after) = retry_after {
        details.set_retry_info(Some(after));
    }
    finish(code, caps::message(message, 0, 0), details)
}

/// Status with the name of its code, which the gateway prints beside the number.
fn finish(code: Code, message: String, details: ErrorDetails) -> Status {
    let named = rpc::Status { status: code_name(code).to_owned(), ..rpc::Status::default() };
    let mut bytes = BytesMut::from(named.encode_to_vec().as_slice());
    // Concatenated encodings decode as one message.
    bytes.extend_from_slice(Status::with_error_details(code, message.clone(), details).details());
    Status::with_details(code, message, bytes.freeze())
}

/// The name of a code, e.g. `INVALID_ARGUMENT`.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The status of a request that can't be decoded: what is wrong with which field; empty if that is not known.
pub(crate) fn malformed(field: &str, rule: &str) -> Status {
    let mut details = info("MALFORMED_MESSAGE", HashMap::new());
    let violations = [Violation::new(field, rule)];
    let (_, violations) = names::spelled(String::new(), &violations);
    let place = if field.is_empty() { String::new() } else { format!("{}: ", violations[0].field) };
    for (field, description) in caps::violations(&violations) {
        details.add_bad_request_violation(field, description);
    }
    finish(Code::InvalidArgument, caps::message(&format!("the request can't be read: {place}{rule}"), 0, 0), details)
}

fn info(reason: &'static str, metadata: HashMap<String, String>) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}

fn log_internal(error: &dyn std::error::Error) {
    if let Some(left_out) = admit() {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        tracing::error!(%error, causes = causes.join(": "), left_out, "internal error");
    }
}

/// Number of lines left out since the last one, when this one may be written.
fn admit() -> Option<u64> {
    const PER_MINUTE: u64 = 6;
    static MINUTE: AtomicU64 = AtomicU64::new(0);
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

    let minute = BEGAN.elapsed().as_secs() / 60 + 1;
    let left_out = if MINUTE.swap(minute, Ordering::Relaxed) == minute {
        0
    } else {
        SEEN.swap(0, Ordering::Relaxed).saturating_sub(PER_MINUTE)
    };
    (SEEN.fetch_add(1, Ordering::Relaxed) < PER_MINUTE).then_some(left_out)
}

#[cfg(test)]
mod tests;

//! Statuses of calls, made of the errors of services: AIP-193 details on every status.

mod caps;
mod description;
mod if_match;
mod names;
mod store;

use std::time::Duration;

use bytes::BytesMut;
pub use caps::TRAILERS;
pub use description::Description;
use http::HeaderMap;
pub use if_match::{IF_MATCH, if_match};
use keyplane_contracts::Violation;
use keyplane_contracts::google::rpc;
use keyplane_contracts::reasons::{DOMAIN, Reason, code_name, kit, store as store_reasons};
use keyplane_contracts::rpc::v1::ItemError;
use keyplane_telemetry::LogLimit;
pub(crate) use names::json_caller;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Error of a service, described for its callers.
pub trait ServiceError: std::error::Error {
    /// Reason, message and details. Implementations match exhaustively, without a `_` arm.
    fn describe(&self) -> Description<'_>;
}

/// Makes the status of an error: code, message, `ErrorInfo`, and the details that the error has. Violations name fields in
/// the spelling of the current call's caller.
///
/// Caps keep the trailers under [`TRAILERS`]: the first 20 violations are listed, and the message counts the rest.
///
/// Causes of internal errors, and of calls that the store failed, are logged (each at most six times a minute, with a count
/// of those left out) and never sent.
pub fn status<E: ServiceError>(error: E) -> Status {
    let mut description = error.describe();
    if matches!(description.code, Code::Internal | Code::Unknown | Code::DataLoss) {
        log_internal(&error);
    } else if description.reason.name == store_reasons::STORE_UNAVAILABLE.name {
        log_unavailable(&error);
    }
    let message = description.message.take().unwrap_or_else(|| error.to_string());
    described(description, message)
}

/// Makes the error of an item of a batch, as [`status`] makes the status of a call.
pub fn item_error<E: ServiceError>(error: &E) -> ItemError {
    let Description { reason, code, message, violations, .. } = error.describe();
    let (message, violations) = names::spelled(message.unwrap_or_else(|| error.to_string()), violations);
    let listed = caps::violations(&violations).len();
    let message = caps::message(&message, listed, violations.len());
    let (status, reason) = (code_name(code).to_owned(), reason.name.to_owned());
    ItemError { code: code.into(), status, reason, message }
}

/// Status of the kit itself, with the code and the advice of `reason`.
pub(crate) fn plain(reason: &'static Reason, message: &str) -> Status {
    described(Description::new(reason), message.to_owned())
}

/// Status of a call that the gRPC library failed by itself, for no reason of ours.
pub(crate) fn unspecified(code: Code, message: &str) -> Status {
    described(Description { code, ..Description::new(&kit::UNSPECIFIED) }, message.to_owned())
}

/// Status of a request that cannot be decoded; `field` is empty if the decoder names none.
pub(crate) fn malformed(field: &str, rule: &str) -> Status {
    let violations = [Violation::new(field, rule)];
    let listed = if field.is_empty() { rule.to_owned() } else { violations[0].to_string() };
    let message = format!("the request can't be read: {listed}");
    described(Description::new(&kit::INVALID_REQUEST).violations(&violations), message)
}

/// Status with the name of its code, which the gateway prints beside the number.
fn described(description: Description<'_>, message: String) -> Status {
    let Description { reason, code, retry_after, violations, metadata, quota, .. } = description;
    let (message, violations) = names::spelled(message, violations);
    let listed = caps::violations(&violations);
    let message = caps::message(&message, listed.len(), violations.len());
    let mut details = ErrorDetails::with_error_info(reason.name, DOMAIN, caps::metadata(metadata));
    for (field, rule) in listed {
        details.add_bad_request_violation(field, rule);
    }
    if let Some(after) = retry_after {
        details.set_retry_info(Some(after));
    }
    if let Some((subject, limit)) = quota {
        details.add_quota_failure_violation(caps::description(&subject), caps::description(&limit));
    }
    let named = rpc::Status { status: code_name(code).to_owned(), ..rpc::Status::default() };
    let mut bytes = BytesMut::from(named.encode_to_vec().as_slice());
    // Concatenated encodings decode as one message.
    bytes.extend_from_slice(Status::with_error_details(code, message.clone(), details).details());
    Status::with_details(code, message, bytes.freeze())
}

/// Turns a status into the trailers of a response whose headers are sent.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    // Fails only for a message that is no header value even when percent-encoded, which can't be.
    let _ = status.add_header(&mut trailers);
    trailers
}

fn log_internal(error: &dyn std::error::Error) {
    static LIMIT: LogLimit = LogLimit::new(6, Duration::from_mins(1));
    if let Some(left_out) = LIMIT.admit() {
        tracing::error!(%error, causes = causes(error), left_out, "internal error");
    }
}

/// Logs a call that the store failed: it may answer pings, and other commands with an error such as MISCONF.
fn log_unavailable(error: &dyn std::error::Error) {
    static LIMIT: LogLimit = LogLimit::new(6, Duration::from_mins(1));
    if let Some(left_out) = LIMIT.admit() {
        tracing::warn!(%error, causes = causes(error), left_out, "the store failed a call");
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests;

//! Details: gives an `ErrorInfo` to statuses that tonic itself makes (unknown method, message that doesn't decode).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Request, Response};
use keyplane_contracts::reasons::kit;
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::Service;

use super::middleware::Middleware;
use crate::errors;

/// Header by which tonic rejects a compression: it lists the supported ones.
const ACCEPTED: &str = "grpc-accept-encoding";
const UNCOMPRESSED: &str = "the call's compression (grpc-encoding) is not supported: use gzip or zstd, or none";

/// Fills in what a status lacks. Sees statuses in headers only, which is where tonic's own are.
#[derive(Clone)]
pub(crate) struct Details;

pin_project! {
    /// Call whose status may need details.
    pub(crate) struct Detailed<F> {
        #[pin]
        inner: F,
    }
}

// === impl Details ===

impl<S, B, R> Middleware<S, Request<R>> for Details
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Future = Detailed<S::Future>;

    fn handle(&mut self, inner: &mut S, request: Request<R>) -> Self::Future {
        Detailed { inner: inner.call(request) }
    }
}

// === impl Detailed ===

impl<F, B, E> Future for Detailed<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut result = ready!(self.project().inner.poll(cx));
        if let Ok(response) = &mut result {
            complete(response.headers_mut());
        }
        Poll::Ready(result)
    }
}

/// Makes the status of a request that can't be decoded: INVALID_ARGUMENT in place of tonic's INTERNAL, since it is the
/// caller's mistake. Names the field if the decoder does, innermost first: `failed to decode Protobuf message: Limit.period: Policy.limit: buffer underflow`.
fn malformed(message: &str) -> Status {
    let mut rule = message.strip_prefix("failed to decode Protobuf message: ").unwrap_or(message);
    let mut path = Vec::new();
    while let Some((place, rest)) = rule.split_once(": ")
        && let Some((_, field)) = place.split_once('.').filter(|(name, _)| name.starts_with(char::is_uppercase))
    {
        path.insert(0, field);
        rule = rest;
    }
    errors::malformed(&path.join("."), rule)
}

fn complete(headers: &mut HeaderMap) {
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return;
    }
    let Some(status) = Status::from_header_map(headers) else { return };
    let code = status.code();
    let message = if status.message().is_empty() { code.description() } else { status.message() };
    let completed = match code {
        Code::Ok => return,
        Code::Unimplemented if headers.contains_key(ACCEPTED) => {
            errors::plain(&kit::COMPRESSION_UNSUPPORTED, UNCOMPRESSED)
        }
        Code::Unimplemented => errors::plain(&kit::METHOD_UNKNOWN, "this server has no such method"),
        // tonic's word for a message that is too large is OUT_OF_RANGE.
        Code::ResourceExhausted | Code::OutOfRange => errors::plain(&kit::REQUEST_TOO_LARGE, message),
        Code::Internal => malformed(status.message()),
        Code::Cancelled => errors::plain(&kit::CANCELLED, message),
        Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => errors::unspecified(code, message),
    };
    headers.remove("grpc-status");
    headers.remove("grpc-message");
    let _ = completed.add_header(headers);
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn completed(status: &Status) -> Status {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        complete(&mut headers);
        assert_eq!(headers.get_all("grpc-status").iter().count(), 1);
        Status::from_header_map(&headers).unwrap()
    }

    #[test]
    fn request_that_does_not_decode_is_the_callers_mistake() {
        for (message, field, rule) in [
            ("ResetRequest.descriptors: buffer underflow", "descriptors", "buffer underflow"),
            ("Limit.period: Policy.limit: buffer underflow", "limit.period", "buffer underflow"),
            ("GetRequest.name: invalid string value: not UTF-8", "name", "invalid string value: not UTF-8"),
            ("invalid varint", "", "invalid varint"),
        ] {
            let status = completed(&Status::internal(format!("failed to decode Protobuf message: {message}")));
            assert_eq!(status.code(), Code::InvalidArgument);
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, "INVALID_REQUEST");
            let violations = details.bad_request().unwrap();
            let violation = &violations.field_violations[0];
            assert_eq!((violation.field.as_str(), violation.description.as_str()), (field, rule));
        }
    }
}

//! Reasons of the gateway's own replies (`deploy/envoy/gateway.yaml`).

use super::{Retry, after, register};

register! {
    UNAUTHENTICATED: Unauthenticated, Retry::Never,
        "The request has no token, or one that is expired or has no valid signature: log in.";
    TOKEN_REVOKED: Unauthenticated, Retry::Never,
        "The token is revoked: log in again.";
    PERMISSION_DENIED: PermissionDenied, Retry::Never,
        "The gateway rejects the request for this caller; metadata `cause` has Envoy's word for it.";
    RATE_LIMITED: ResourceExhausted, Retry::RetryInfo,
        "A limit is reached, metadata `policy`; the headers `Retry-After`, `RateLimit` and `RateLimit-Policy` have \
         the figures.";
    TOO_MANY_REQUESTS: ResourceExhausted, Retry::Never,
        "Envoy rejects the request for load; metadata `cause` has its word for it. Send less.";
    RATE_LIMITER_UNAVAILABLE: Unavailable, after(1000),
        "The rate-limiting service cannot be reached; the request was not forwarded. Operator: `failure_mode_deny` \
         decides.";
    TOO_MANY_DESCRIPTORS: Internal, Retry::Never,
        "The route makes more descriptors than rate limiting takes. Operator: fewer actions in the gateway's \
         `rate_limits`.";
    GUARD_UNAVAILABLE: Unavailable, after(1000),
        "The gateway's JSON guard does not answer. Nothing was done; retry.";
    SERVICE_UNREACHABLE: Unavailable, after(1000),
        "No instance of the service can be reached, or its answer broke off (HTTP 502). Retry a write with the same \
         `request_id`.";
    SERVICE_TIMEOUT: DeadlineExceeded, Retry::Idempotent,
        "The service did not answer in time. A write may have happened.";
    REQUEST_TOO_SLOW: DeadlineExceeded, Retry::Idempotent,
        "HTTP 408. The request did not arrive in time, or stalled. A write may have happened, unless the message says that \
         nothing was done.";
    HEADERS_TOO_LARGE: ResourceExhausted, Retry::Never,
        "HTTP 431. The headers exceed 32 KiB or 100 in number: send less.";
    ROUTE_NOT_FOUND: NotFound, Retry::Never,
        "The gateway has no such route: see `/openapi.json`.";
    METHOD_NOT_ALLOWED: Unimplemented, Retry::Never,
        "HTTP 405. The route has no such method; the header `Allow` lists its methods.";
    HTTP_VERSION_UNSUPPORTED: Unimplemented, Retry::Never,
        "HTTP 426. HTTP/1.0 is not supported: use HTTP/1.1 or HTTP/2.";
    NOT_IMPLEMENTED: Unimplemented, Retry::Never,
        "The gateway does not support the request; metadata `cause` has Envoy's word for it.";
    GATEWAY_ERROR: Internal, Retry::Never,
        "The gateway failed. Report it with the request id.";
}

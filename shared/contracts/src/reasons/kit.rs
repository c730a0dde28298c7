//! Reasons that every service sends.

use super::{Retry, after, register};

register! {
    INVALID_REQUEST: InvalidArgument, Retry::Never,
        "Fields break their rules, or the request cannot be read. `BadRequest` names every violated field: fix them.";
    REQUEST_ID_REUSED: InvalidArgument, Retry::Never,
        "The `request_id` belongs to another request of the last minutes: choose a new one.";
    STALE_WRITE: Aborted, Retry::AfterRead,
        "The resource has changed since it was read; metadata `current` is its version or etag. Read it, merge, write \
         again.";
    WRITE_CONFLICT: Aborted, Retry::Now,
        "The resource kept changing during the write. Nothing was written; retry.";
    REQUEST_TOO_LARGE: ResourceExhausted, Retry::Never,
        "The message is larger than the service takes (`KEYPLANE_GRPC_MAX_MESSAGE`), or the body than the gateway \
         takes (HTTP 413): send less.";
    TOO_MANY_WATCHES: ResourceExhausted, after(1000),
        "The instance serves as many watches as it may, metadata `max_watches`: connect again, to another instance if \
         possible.";
    OVERLOADED: Unavailable, after(100),
        "The instance has no room for another call, or the store is out of memory or has too many commands queued. \
         Retry, elsewhere if possible.";
    STARTING: Unavailable, after(100),
        "The instance has just started and does not know its store or feed yet. Retry, elsewhere if possible.";
    SHUTTING_DOWN: Unavailable, after(100),
        "The instance shuts down. Connect again; a watch resumes after the last event. A browser does both by itself.";
    DEADLINE_EXCEEDED: DeadlineExceeded, Retry::Idempotent,
        "The call's deadline passed. A write may have happened, unless the message says that nothing was done.";
    CANCELLED: Cancelled, Retry::Idempotent,
        "The caller cancelled the call. A write may have happened.";
    METHOD_UNKNOWN: Unimplemented, Retry::Never,
        "The server has no such method: check the address and the contract's version.";
    COMPRESSION_UNSUPPORTED: Unimplemented, Retry::Never,
        "The call's `grpc-encoding` is not supported: use gzip or zstd, or none.";
    INTERNAL: Internal, Retry::Never,
        "A bug, or a failing operating system. Report it with the trace id; the log has the cause.";
    UNSPECIFIED: Unknown, Retry::Never,
        "The gRPC library failed the call by itself; its code replaces UNKNOWN, and the message names the cause.";
}

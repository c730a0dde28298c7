//! Registry of error reasons: every `ErrorInfo.reason` that a service, the gateway or the client library sends.
//!
//! Reasons are part of the contract: they may be added, not renamed. `docs/errors.md` is generated from this registry.

use std::time::Duration;

use tonic::Code;

pub mod client;
pub mod gateway;
pub mod kit;
pub mod memory;
pub mod ratelimit;
pub mod revocation;
pub mod search;
pub mod session;
pub mod store;

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "keyplane.dev";

/// Reason of an error, with what callers know about it in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `ErrorInfo.reason`: `UPPER_SNAKE`, at most 63 characters.
    pub name: &'static str,
    /// Status code of the call.
    pub code: Code,
    /// Advice on repeating the call.
    pub retry: Retry,
    /// Help for callers: the cause, and the mend. One line of Markdown.
    pub help: &'static str,
}

/// Advice on repeating a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Repeated calls fail again.
    Never,
    /// Repeated calls may succeed at once: nothing was done.
    Now,
    /// Repeated calls may succeed after this time, which `RetryInfo` repeats or replaces.
    After(Duration),
    /// Repeated calls may succeed after the time in `RetryInfo`; without `RetryInfo` they fail again.
    RetryInfo,
    /// Calls with the resource's current state may succeed.
    AfterRead,
    /// Idempotent calls alone are safe to repeat: a write may have happened.
    Idempotent,
}

/// Group of reasons that one part of the platform sends.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Title in `docs/errors.md`.
    pub title: &'static str,
    /// Reasons, in the order of `docs/errors.md`.
    pub reasons: &'static [&'static Reason],
}

/// Registry of all reasons.
pub static AREAS: [Area; 9] = [
    Area { title: "Every service", reasons: kit::ALL },
    Area { title: "Store", reasons: store::ALL },
    Area { title: "Sessions", reasons: session::ALL },
    Area { title: "Revocation", reasons: revocation::ALL },
    Area { title: "Rate limiting", reasons: ratelimit::ALL },
    Area { title: "Agent memory", reasons: memory::ALL },
    Area { title: "Search", reasons: search::ALL },
    Area { title: "Gateway", reasons: gateway::ALL },
    Area { title: "Rust client", reasons: client::ALL },
];

// === impl Reason ===

impl Reason {
    /// Time in `RetryInfo` unless the error sets another one.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.retry {
            Retry::After(wait) => Some(wait),
            Retry::Never | Retry::Now | Retry::RetryInfo | Retry::AfterRead | Retry::Idempotent => None,
        }
    }
}

/// Name of a code: `INVALID_ARGUMENT`.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
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

/// Declares the reasons of an area, and `ALL`, their list.
macro_rules! register {
    ($($name:ident: $code:ident, $retry:expr, $help:expr;)+) => {
        $(
            #[doc = $help]
            pub static $name: $crate::reasons::Reason = $crate::reasons::Reason {
                name: stringify!($name),
                code: tonic::Code::$code,
                retry: $retry,
                help: $help,
            };
        )+

        /// List of the reasons of this area.
        pub(super) const ALL: &[&$crate::reasons::Reason] = &[$(&$name),+];
    };
}
use register;

/// Advice in milliseconds.
const fn after(millis: u64) -> Retry {
    Retry::After(Duration::from_millis(millis))
}

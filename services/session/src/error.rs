//! Errors of the session service, and their description for callers.

use keyplane_contracts::Violation;
use keyplane_contracts::reasons::{kit, revocation, session, store};
use keyplane_server::random::NoRandomness;
use keyplane_server::{Description, ServiceError, TooManyWatches};
use tonic::Code;

/// Error of a call. `Display` is the message for callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// Missing session.
    #[error("the session does not exist, or has ended")]
    NotFound,
    /// Change based on another version than the current one.
    #[error("the session has changed: its version is {current} now; read it and try again")]
    StaleWrite {
        /// Version of the session.
        current: i64,
    },
    /// Login past the user's maximum of sessions, under a policy that rejects it.
    #[error("the user has {limit} sessions, the most that the tenant allows; end one first")]
    TooManySessions {
        /// Maximum of sessions.
        limit: u32,
    },
    /// Sessions changed each time between the revocation of their tokens and their end.
    #[error("sessions kept changing while their tokens were revoked; none was ended: try again")]
    SessionsChanging,
    /// Revocation service that does not answer now.
    #[error("the revocation service can't be reached: no session was ended, and the call may safely be repeated")]
    RevocationUnavailable,
    /// Rejection by the revocation service.
    #[error("the revocation service rejected the call ({code:?}, {reason}): no session was ended; ask the operator")]
    RevocationRejected {
        /// Status code of the rejection.
        code: Code,
        /// Reason of the rejection.
        reason: String,
    },
    /// Missing configuration of a revocation service.
    #[error(
        "this service has no revocation service, so it can't revoke tokens: no session was ended; end it without revoking \
         tokens, or have the operator set KEYPLANE_SESSION_REVOCATION_URL"
    )]
    RevocationNotConfigured,
    /// Request id of another request.
    #[error("the request id was used for another request in the last minutes; choose a new one")]
    RequestIdReused,
    /// Watch past this instance's maximum.
    #[error(transparent)]
    TooManyWatches(#[from] TooManyWatches),
    /// Shutdown of the service; the watch continues elsewhere.
    #[error("the service is shutting down; connect again")]
    ShuttingDown,
    /// Value in the store that this service never writes.
    #[error("the stored data is damaged: {0}")]
    Corrupt(&'static str),
    /// Failure of the operating system's random source.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Lifetime outside of the bounds for keys.
    #[error(transparent)]
    Ttl(#[from] keyplane_valkey::TtlError),
    /// Error of the store.
    #[error(transparent)]
    Store(#[from] keyplane_valkey::Error),
}

// === impl Error ===

impl Error {
    /// Reports whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Store(error) if error.retryable())
    }
}

impl ServiceError for Error {
    fn describe(&self) -> Description<'_> {
        match self {
            Error::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Error::RequestIdReused => Description::new(&kit::REQUEST_ID_REUSED),
            Error::NotFound => Description::new(&session::SESSION_NOT_FOUND),
            Error::StaleWrite { current } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::SessionsChanging => Description::new(&session::SESSIONS_CHANGING),
            Error::RevocationUnavailable => Description::new(&revocation::REVOCATION_UNAVAILABLE),
            Error::RevocationRejected { code, reason } => Description::new(&session::REVOCATION_REJECTED)
                .with("revocation_code", format_args!("{code:?}"))
                .with("revocation_reason", reason),
            Error::RevocationNotConfigured => Description::new(&session::REVOCATION_NOT_CONFIGURED),
            Error::TooManySessions { limit } => Description::new(&session::TOO_MANY_SESSIONS)
                .with("max_sessions", limit)
                .quota("user", format!("at most {limit} sessions of one user")),
            Error::TooManyWatches(error) => error.describe(),
            Error::ShuttingDown => Description::new(&kit::SHUTTING_DOWN),
            Error::Corrupt(_) => Description::new(&store::STORED_DATA_DAMAGED),
            Error::NoRandomness(_) | Error::Ttl(_) => Description::new(&kit::INTERNAL),
            Error::Store(error) => error.describe(),
        }
    }
}

//! What can go wrong in the session service, and what a caller is told.

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_server::ServiceError;
use tonic::Code;

/// Everything that a call can fail with. `Display` is the message that callers read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// There is no such session.
    #[error("the session does not exist, or has ended")]
    NotFound,
    /// The session is not of the version that the change is based on.
    #[error("the session has changed: its version is {current} now; read it and try again")]
    VersionMismatch {
        /// Its version.
        current: i64,
    },
    /// The user has as many sessions as the tenant's policy allows, and the policy is to refuse.
    #[error("the user has {limit} sessions, the most that the tenant allows; end one first")]
    TooManySessions {
        /// The most.
        limit: u32,
    },
    /// Sessions changed each time between the revocation of what was issued for them and their end.
    #[error("sessions kept changing while their tokens were revoked; none was ended: try again")]
    SessionsChanging,
    /// The revocation service does not answer, or not now.
    #[error("the revocation service can't be reached: no session was ended, and the call may safely be repeated")]
    RevocationUnavailable,
    /// The revocation service will not do it.
    #[error("the revocation service refused ({code:?}, {reason}): no session was ended; ask the operator")]
    RevocationRefused {
        /// Its status.
        code: Code,
        /// The reason in it.
        reason: String,
    },
    /// The operator named no revocation service.
    #[error(
        "this service knows no revocation service, so it can't revoke tokens: no session was ended; end \
         it without revoking tokens, or have the operator set KEYPLANE_SESSION_REVOCATION_URL"
    )]
    RevocationNotConfigured,
    /// The request id was used for something else.
    #[error("the request id was used for another request in the last minutes; choose a new one")]
    RequestIdReused,
    /// This instance follows as many watches as it may.
    #[error("this instance follows {limit} watches, the most that it may; try again on another")]
    TooManyWatches {
        /// The most.
        limit: usize,
    },
    /// The service is about to stop; the watch goes on elsewhere.
    #[error("the service is stopping; connect again")]
    Stopping,
    /// What the store holds is not what this service writes.
    #[error("the stored data is damaged: {0}")]
    Corrupt(&'static str),
    /// The system has no random numbers to give.
    #[error("the system gave no random numbers")]
    NoRandomness,
    /// A lifetime is not one that keys may have.
    #[error(transparent)]
    Ttl(#[from] keyplane_valkey::TtlError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] keyplane_valkey::Error),
}

// === impl Error ===

impl Error {
    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Store(error) if error.retryable())
    }
}

impl ServiceError for Error {
    fn code(&self) -> Code {
        match self {
            Error::Invalid(_) | Error::RequestIdReused => Code::InvalidArgument,
            Error::NotFound => Code::NotFound,
            Error::VersionMismatch { .. } | Error::SessionsChanging => Code::Aborted,
            Error::RevocationRefused { .. } | Error::RevocationNotConfigured => Code::FailedPrecondition,
            Error::TooManySessions { .. } | Error::TooManyWatches { .. } => Code::ResourceExhausted,
            Error::Stopping | Error::RevocationUnavailable => Code::Unavailable,
            Error::Corrupt(_) | Error::NoRandomness | Error::Ttl(_) => Code::Internal,
            Error::Store(error) => ServiceError::code(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_REQUEST",
            Error::RequestIdReused => "REQUEST_ID_REUSED",
            Error::NotFound => "SESSION_NOT_FOUND",
            Error::VersionMismatch { .. } => "VERSION_MISMATCH",
            Error::SessionsChanging => "SESSIONS_CHANGING",
            Error::RevocationUnavailable => "REVOCATION_UNAVAILABLE",
            Error::RevocationRefused { .. } => "REVOCATION_REFUSED",
            Error::RevocationNotConfigured => "REVOCATION_NOT_CONFIGURED",
            Error::TooManySessions { .. } => "TOO_MANY_SESSIONS",
            Error::TooManyWatches { .. } => "TOO_MANY_WATCHES",
            Error::Stopping => "STOPPING",
            Error::Corrupt(_) => "STORED_DATA_DAMAGED",
            Error::NoRandomness | Error::Ttl(_) => "INTERNAL",
            Error::Store(error) => error.reason(),
        }
    }

    fn message(&self) -> String {
        // The store's own words are for the log; the kit has words for callers.
        if let Error::Store(error) = self { error.message() } else { self.to_string() }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::TooManyWatches { .. } => Some(Duration::from_secs(1)),
            Error::Stopping => Some(Duration::from_millis(100)),
            Error::RevocationUnavailable => Some(Duration::from_millis(500)),
            Error::Store(error) => ServiceError::retry_after(error),
            Error::Invalid(_)
            | Error::RequestIdReused
            | Error::NotFound
            | Error::VersionMismatch { .. }
            | Error::SessionsChanging
            | Error::RevocationRefused { .. }
            | Error::RevocationNotConfigured
            | Error::TooManySessions { .. }
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => None,
        }
    }

    fn violations(&self) -> &[Violation] {
        if let Error::Invalid(violations) = self { violations } else { &[] }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::VersionMismatch { current } => vec![("current_version", current.to_string())],
            Error::RevocationRefused { code, reason } => {
                vec![("revocation_code", format!("{code:?}")), ("revocation_reason", reason.clone())]
            }
            Error::TooManySessions { limit } => vec![("max_sessions", limit.to_string())],
            Error::TooManyWatches { limit } => vec![("max_watches", limit.to_string())],
            Error::Store(error) => error.metadata(),
            Error::Invalid(_)
            | Error::RequestIdReused
            | Error::NotFound
            | Error::SessionsChanging
            | Error::RevocationUnavailable
            | Error::RevocationNotConfigured
            | Error::Stopping
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => Vec::new(),
        }
    }

    fn quota(&self) -> Option<(String, String)> {
        match self {
            Error::TooManySessions { limit } => Some(("user".into(), format!("at most {limit} sessions of one user"))),
            Error::TooManyWatches { limit } => Some(("instance".into(), format!("at most {limit} watches"))),
            Error::Invalid(_)
            | Error::RequestIdReused
            | Error::NotFound
            | Error::VersionMismatch { .. }
            | Error::SessionsChanging
            | Error::RevocationUnavailable
            | Error::RevocationRefused { .. }
            | Error::RevocationNotConfigured
            | Error::Stopping
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_)
            | Error::Store(_) => None,
        }
    }
}

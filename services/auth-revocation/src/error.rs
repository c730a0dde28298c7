//! What can go wrong in the revocation service, and what a caller is told.

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_server::ServiceError;
use tonic::Code;

/// Everything that a call can fail with. `Display` is the message that callers read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// There is no such revocation.
    #[error("there is no such revocation, or all that it covered has expired")]
    NotFound,
    /// The revocation is not of the version that the change is based on.
    #[error("the revocation has changed: its etag is \"{current}\" now; read it and try again")]
    VersionMismatch {
        /// Its version.
        current: u64,
    },
    /// RFC 7009: the token is of a kind that is not revoked here.
    #[error(
        "only JWTs with iss and jti can be revoked here; refresh tokens are revoked at the identity provider that issued them"
    )]
    UnsupportedTokenType,
    /// RFC 7009: there are no keys to verify tokens with.
    #[error(
        "tokens cannot be verified here: set KEYPLANE_REVOCATION_JWKS to the issuer's key set, in a file that can be read"
    )]
    JwksNotConfigured,
    /// Tokens of the issuer need not say which key signed them, so that none of its keys can be revoked.
    #[error(
        "keys of this issuer cannot be revoked, since its tokens need no kid: take the key out of the issuer's key set, and revoke \
         the tenant's tokens"
    )]
    IssuerWithoutKid,
    /// Neither memory nor the store can tell whether the token is good, and the outage policy is closed.
    #[error("it can't be told whether the token is revoked: what is known is too old, and the store did not answer")]
    FreshnessUnknown,
    /// The feed can't be followed any more.
    #[error("the feed was interrupted; call Watch again with the resume_token of the last response")]
    FeedRestarted,
    /// This instance follows as many watches as it may.
    #[error("this instance follows {limit} watches, the most that it may; try again on another")]
    TooManyWatches {
        /// The most.
        limit: usize,
    },
    /// This instance does not know the feed yet, or is reconciling its memory with the store.
    #[error("this instance is reading the feed itself; try again, or on another")]
    Starting,
    /// A route of the gateway names an outage policy that is none.
    #[error("the route's `keyplane.policy` {0}")]
    RoutePolicy(String),
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
    /// Whether the same call may succeed a moment later. Every call of this service may be repeated without harm.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Store(error) => error.retryable(),
            Error::FreshnessUnknown
            | Error::FeedRestarted
            | Error::TooManyWatches { .. }
            | Error::Starting
            | Error::Stopping => true,
            Error::Invalid(_)
            | Error::NotFound
            | Error::VersionMismatch { .. }
            | Error::UnsupportedTokenType
            | Error::JwksNotConfigured
            | Error::IssuerWithoutKid
            | Error::RoutePolicy(_)
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => false,
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> Code {
        match self {
            Error::Invalid(_) | Error::UnsupportedTokenType => Code::InvalidArgument,
            Error::JwksNotConfigured | Error::IssuerWithoutKid => Code::FailedPrecondition,
            Error::NotFound => Code::NotFound,
            Error::VersionMismatch { .. } | Error::FeedRestarted => Code::Aborted,
            Error::TooManyWatches { .. } => Code::ResourceExhausted,
            Error::FreshnessUnknown | Error::Starting | Error::RoutePolicy(_) | Error::Stopping => Code::Unavailable,
            Error::Corrupt(_) | Error::NoRandomness | Error::Ttl(_) => Code::Internal,
            Error::Store(error) => ServiceError::code(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_REQUEST",
            Error::NotFound => "REVOCATION_NOT_FOUND",
            Error::VersionMismatch { .. } => "VERSION_MISMATCH",
            Error::UnsupportedTokenType => "UNSUPPORTED_TOKEN_TYPE",
            Error::JwksNotConfigured => "JWKS_NOT_CONFIGURED",
            Error::IssuerWithoutKid => "ISSUER_WITHOUT_KID",
            Error::FreshnessUnknown => "FRESHNESS_UNKNOWN",
            Error::FeedRestarted => "FEED_RESTARTED",
            Error::TooManyWatches { .. } => "TOO_MANY_WATCHES",
            Error::Starting => "STARTING",
            Error::RoutePolicy(_) => "ROUTE_POLICY_INVALID",
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
            Error::Stopping | Error::Starting | Error::FreshnessUnknown | Error::FeedRestarted => {
                Some(Duration::from_millis(100))
            }
            Error::Store(error) => ServiceError::retry_after(error),
            Error::Invalid(_)
            | Error::NotFound
            | Error::VersionMismatch { .. }
            | Error::UnsupportedTokenType
            | Error::JwksNotConfigured
            | Error::IssuerWithoutKid
            | Error::RoutePolicy(_)
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
            Error::VersionMismatch { current } => vec![("current_etag", current.to_string())],
            Error::TooManyWatches { limit } => vec![("max_watches", limit.to_string())],
            Error::Store(error) => error.metadata(),
            Error::Invalid(_)
            | Error::NotFound
            | Error::UnsupportedTokenType
            | Error::JwksNotConfigured
            | Error::IssuerWithoutKid
            | Error::FreshnessUnknown
            | Error::FeedRestarted
            | Error::Starting
            | Error::RoutePolicy(_)
            | Error::Stopping
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => Vec::new(),
        }
    }

    fn quota(&self) -> Option<(String, String)> {
        match self {
            Error::TooManyWatches { limit } => Some(("instance".into(), format!("at most {limit} watches"))),
            Error::Invalid(_)
            | Error::NotFound
            | Error::VersionMismatch { .. }
            | Error::UnsupportedTokenType
            | Error::JwksNotConfigured
            | Error::IssuerWithoutKid
            | Error::FreshnessUnknown
            | Error::FeedRestarted
            | Error::Starting
            | Error::RoutePolicy(_)
            | Error::Stopping
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_)
            | Error::Store(_) => None,
        }
    }
}

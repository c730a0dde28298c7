//! Errors of the revocation service, and their description for callers.

use keyplane_contracts::Violation;
use keyplane_contracts::reasons::{kit, revocation, store};
use keyplane_server::random::NoRandomness;
use keyplane_server::{Description, ServiceError, TooManyWatches};

/// Error of a call. `Display` is the message for callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// Missing revocation.
    #[error("the revocation does not exist, or has expired")]
    NotFound,
    /// Change based on another version than the current one.
    #[error("the revocation has changed: its etag is \"{current}\" now; read it and try again")]
    StaleWrite {
        /// Version of the revocation.
        current: u64,
    },
    /// Token of a type that this service does not revoke (RFC 7009).
    #[error(
        "only JWTs with iss and jti can be revoked here; refresh tokens are revoked at the identity provider that issued them"
    )]
    UnsupportedTokenType,
    /// Missing keys to verify tokens (RFC 7009).
    #[error(
        "tokens cannot be verified here: set KEYPLANE_REVOCATION_JWKS to the issuer's key set, in a file that can be read"
    )]
    JwksNotConfigured,
    /// Key of an issuer whose tokens need no `kid`: it cannot be revoked.
    #[error(
        "keys of this issuer cannot be revoked, since its tokens need no kid: take the key out of the issuer's key set, and revoke \
         the tenant's tokens"
    )]
    IssuerWithoutKid,
    /// Token of unknown state: memory and store cannot tell, and the outage policy is closed.
    #[error("it can't be told whether the token is revoked: memory is too old, and the store did not answer")]
    FreshnessUnknown,
    /// Interruption of the feed of a watch.
    #[error("the feed was interrupted; call Watch again with the resume_token of the last response")]
    FeedRestarted,
    /// Watch past this instance's maximum.
    #[error(transparent)]
    TooManyWatches(#[from] TooManyWatches),
    /// Instance that does not know the feed yet, or is reconciling its memory with the store.
    #[error("this instance is reading the feed itself; try again, or on another")]
    Starting,
    /// Invalid outage policy in a route of the gateway.
    #[error("the route's `keyplane.policy` {0}")]
    RoutePolicy(String),
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
    /// Reports whether the same call may succeed a moment later. Every call of this service is idempotent.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if let Error::Store(error) = self { error.retryable() } else { self.describe().retry_after.is_some() }
    }
}

impl ServiceError for Error {
    fn describe(&self) -> Description<'_> {
        match self {
            Error::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Error::NotFound => Description::new(&revocation::REVOCATION_NOT_FOUND),
            Error::StaleWrite { current } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::UnsupportedTokenType => Description::new(&revocation::UNSUPPORTED_TOKEN_TYPE),
            Error::JwksNotConfigured => Description::new(&revocation::JWKS_NOT_CONFIGURED),
            Error::IssuerWithoutKid => Description::new(&revocation::ISSUER_WITHOUT_KID),
            Error::FreshnessUnknown => Description::new(&revocation::FRESHNESS_UNKNOWN),
            Error::FeedRestarted => Description::new(&revocation::FEED_RESTARTED),
            Error::TooManyWatches(error) => error.describe(),
            Error::Starting => Description::new(&kit::STARTING),
            Error::RoutePolicy(_) => Description::new(&revocation::ROUTE_POLICY_INVALID),
            Error::ShuttingDown => Description::new(&kit::SHUTTING_DOWN),
            Error::Corrupt(_) => Description::new(&store::STORED_DATA_DAMAGED),
            Error::NoRandomness(_) | Error::Ttl(_) => Description::new(&kit::INTERNAL),
            Error::Store(error) => error.describe(),
        }
    }
}

impl From<keyplane_audit::Damaged> for Error {
    fn from(keyplane_audit::Damaged(kind): keyplane_audit::Damaged) -> Error {
        Error::Corrupt(kind)
    }
}

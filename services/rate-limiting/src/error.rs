//! What can go wrong in the rate-limiting service, and what a caller is told.

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
    /// There is no such policy.
    #[error("there is no policy {id}; ListPolicies tells which there are")]
    PolicyNotFound {
        /// What was asked for: an id that keeps to the rule, or nothing.
        id: String,
    },
    /// There is such a policy.
    #[error("there is a policy {id} that was made here; update it, or choose another id")]
    PolicyExists {
        /// Its id.
        id: String,
    },
    /// The policy is the operator's.
    #[error(
        "the policy {id} comes from the operator's file, and only that changes it; create one of the same id to hide it"
    )]
    PolicyFromFile {
        /// Its id.
        id: String,
    },
    /// There are as many policies as there may be.
    #[error("there are {limit} policies, the most that are taken; delete one first")]
    TooManyPolicies {
        /// The most.
        limit: usize,
    },
    /// The policy has changed.
    #[error("the policy has changed: its etag is {current} now; read it and try again")]
    EtagMismatch {
        /// Its etag.
        current: String,
    },
    /// The request id was used for something else.
    #[error("the request id was used for another request a moment ago; choose a new one")]
    RequestIdReused,
    /// The charge or reservation is not there, or not any more.
    #[error(
        "the charge is not known, or not any more: it can be settled and refunded for as long as it was to be remembered"
    )]
    ChargeNotFound,
    /// The reservation was settled, and not in this way.
    #[error("the reservation was settled at a cost of {cost}; it can't be settled once more")]
    AlreadySettled {
        /// At what.
        cost: u64,
    },
    /// More than was charged.
    #[error("of the charge {left} are left; no more can be refunded")]
    RefundExceedsCharge {
        /// What is left.
        left: u64,
    },
    /// Hits may be taken back by trusted peers only.
    #[error(
        "this peer may not take hits back (is_negative_hits): the operator names those who may in \
         KEYPLANE_RATELIMIT_REFUND_PEERS"
    )]
    RefundNotAllowed,
    /// A limit can't be held, and its policy is to let nobody pass then. `unknown`: something may have been charged.
    #[error("the policy {policy} could not be held in time, and it admits nobody then: try again")]
    Closed {
        /// Which.
        policy: String,
        /// Whether something may have been charged.
        unknown: bool,
    },
    /// No answer came before the caller's deadline. `unknown`: something may have been charged.
    #[error("the store did not answer in time: try again")]
    NoAnswer {
        /// Whether something may have been charged.
        unknown: bool,
    },
    /// More waits for the store than there is room for.
    #[error("too many calls wait for the store: try again")]
    Overloaded,
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

/// When a repeat of what was too slow or too much makes sense.
const SOON: Duration = Duration::from_millis(100);

// === impl Error ===

impl Error {
    /// One field that breaks a rule.
    #[must_use]
    pub fn invalid(violation: Violation) -> Error {
        Error::Invalid(vec![violation])
    }

    /// Whether the store could not be asked, or did not answer: what an outage policy is for.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Error::Store(error) => error.retryable(),
            Error::Overloaded | Error::NoAnswer { .. } | Error::Closed { .. } => true,
            Error::Invalid(_)
            | Error::PolicyNotFound { .. }
            | Error::PolicyExists { .. }
            | Error::PolicyFromFile { .. }
            | Error::TooManyPolicies { .. }
            | Error::EtagMismatch { .. }
            | Error::RequestIdReused
            | Error::ChargeNotFound
            | Error::AlreadySettled { .. }
            | Error::RefundExceedsCharge { .. }
            | Error::RefundNotAllowed
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => false,
        }
    }

    /// Whether it failed although something may have been written.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        if let Error::Store(error) = self {
            return error.outcome_unknown();
        }
        matches!(self, Error::Closed { unknown: true, .. } | Error::NoAnswer { unknown: true })
    }
}

impl ServiceError for Error {
    fn code(&self) -> Code {
        match self {
            Error::Invalid(_) | Error::RequestIdReused | Error::RefundExceedsCharge { .. } => Code::InvalidArgument,
            Error::PolicyNotFound { .. } | Error::ChargeNotFound => Code::NotFound,
            Error::PolicyExists { .. } => Code::AlreadyExists,
            Error::PolicyFromFile { .. } | Error::AlreadySettled { .. } => Code::FailedPrecondition,
            Error::EtagMismatch { .. } => Code::Aborted,
            Error::TooManyPolicies { .. } => Code::ResourceExhausted,
            Error::RefundNotAllowed => Code::PermissionDenied,
            Error::Closed { .. } | Error::NoAnswer { .. } | Error::Overloaded => Code::Unavailable,
            Error::Corrupt(_) | Error::NoRandomness | Error::Ttl(_) => Code::Internal,
            Error::Store(error) => ServiceError::code(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_REQUEST",
            Error::RequestIdReused => "REQUEST_ID_REUSED",
            Error::RefundExceedsCharge { .. } => "REFUND_EXCEEDS_CHARGE",
            Error::PolicyNotFound { .. } => "POLICY_NOT_FOUND",
            Error::ChargeNotFound => "CHARGE_NOT_FOUND",
            Error::PolicyExists { .. } => "POLICY_EXISTS",
            Error::PolicyFromFile { .. } => "POLICY_FROM_FILE",
            Error::AlreadySettled { .. } => "ALREADY_SETTLED",
            Error::EtagMismatch { .. } => "ETAG_MISMATCH",
            Error::TooManyPolicies { .. } => "TOO_MANY_POLICIES",
            Error::RefundNotAllowed => "REFUND_NOT_ALLOWED",
            Error::Closed { .. } | Error::NoAnswer { .. } => "STORE_UNAVAILABLE",
            Error::Overloaded => "OVERLOADED",
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
            Error::Closed { .. } | Error::NoAnswer { .. } | Error::Overloaded => Some(SOON),
            Error::Store(error) => ServiceError::retry_after(error),
            Error::Invalid(_)
            | Error::PolicyNotFound { .. }
            | Error::PolicyExists { .. }
            | Error::PolicyFromFile { .. }
            | Error::TooManyPolicies { .. }
            | Error::EtagMismatch { .. }
            | Error::RequestIdReused
            | Error::ChargeNotFound
            | Error::AlreadySettled { .. }
            | Error::RefundExceedsCharge { .. }
            | Error::RefundNotAllowed
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
            Error::PolicyNotFound { id } | Error::PolicyExists { id } | Error::PolicyFromFile { id } => {
                vec![("policy", id.clone())]
            }
            Error::TooManyPolicies { limit } => vec![("max_policies", limit.to_string())],
            Error::EtagMismatch { current } => vec![("current_etag", current.clone())],
            Error::AlreadySettled { cost } => vec![("cost", cost.to_string())],
            Error::RefundExceedsCharge { left } => vec![("left", left.to_string())],
            Error::Closed { policy, unknown } => {
                let mut metadata = vec![("policy", policy.clone())];
                metadata.extend(unknown.then(|| ("outcome", "unknown".to_owned())));
                metadata
            }
            Error::NoAnswer { unknown: true } => vec![("outcome", "unknown".to_owned())],
            Error::Store(error) => error.metadata(),
            Error::Invalid(_)
            | Error::RequestIdReused
            | Error::ChargeNotFound
            | Error::RefundNotAllowed
            | Error::NoAnswer { unknown: false }
            | Error::Overloaded
            | Error::Corrupt(_)
            | Error::NoRandomness
            | Error::Ttl(_) => Vec::new(),
        }
    }
}

//! Errors of the rate-limiting service, and their description for callers.

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_contracts::reasons::{kit, ratelimit, store};
use keyplane_server::random::NoRandomness;
use keyplane_server::{Description, ServiceError};

use crate::domain::PolicyViolation;

/// Error of a call. `Display` is the message for callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// Policy that would break its rules; the edges name the fields.
    #[error("the policy is invalid: {}", .0.iter().map(|broken| broken.rule.as_str()).collect::<Vec<_>>().join("; "))]
    InvalidPolicy(Vec<PolicyViolation>),
    /// Missing policy.
    #[error("policy {id} does not exist; ListPolicies lists the existing ones")]
    PolicyNotFound {
        /// Id from the request: a valid one, or empty.
        id: String,
    },
    /// Id of an existing policy.
    #[error("policy {id} exists already; update it, or choose another id")]
    PolicyExists {
        /// Id of the policy.
        id: String,
    },
    /// Policy that comes from the policies file.
    #[error(
        "policy {id} comes from the policies file; edit the file, or create a policy with the same id to override it"
    )]
    PolicyFromFile {
        /// Id of the policy.
        id: String,
    },
    /// Policy past the maximum.
    #[error("{limit} policies exist, the most that are allowed; delete one first")]
    TooManyPolicies {
        /// Maximum of policies.
        limit: usize,
    },
    /// Change based on another etag than the current one.
    #[error("the policy has changed: its etag is {current} now; read it and try again")]
    StaleWrite {
        /// Etag of the policy.
        current: String,
    },
    /// Request id of another request.
    #[error("the request id was used for another request a moment ago; choose a new one")]
    RequestIdReused,
    /// Missing or forgotten charge or reservation.
    #[error("the charge is unknown, or forgotten: it can be settled and refunded while it is remembered")]
    ChargeNotFound,
    /// Reservation that was settled at another cost.
    #[error("the reservation was settled at a cost of {cost}; it can't be settled again")]
    AlreadySettled {
        /// Cost of the settlement.
        cost: u64,
    },
    /// Refund larger than the rest of the charge.
    #[error("only {left} of this charge can still be refunded")]
    RefundExceedsCharge {
        /// Rest of the charge.
        left: u64,
    },
    /// Peer that is not trusted to take hits back.
    #[error(
        "this peer may not take hits back (is_negative_hits): the operator names trusted peers in \
         KEYPLANE_RATELIMIT_REFUND_PEERS"
    )]
    RefundNotAllowed,
    /// Limit that could not be evaluated, with outage mode closed.
    #[error("policy {policy} could not be evaluated in time; its outage mode is closed; retry")]
    Closed {
        /// Id of the policy.
        policy: String,
        /// Something may have been charged.
        unknown: bool,
    },
    /// Missing answer at the caller's deadline.
    #[error("the store did not answer in time; retry")]
    NoAnswer {
        /// Something may have been charged.
        unknown: bool,
    },
    /// Full queue for the store.
    #[error("too many calls wait for the store; retry")]
    Overloaded,
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

/// Wait before a call that was too slow makes sense again.
const SOON: Duration = Duration::from_millis(100);

// === impl Error ===

impl Error {
    /// Makes the error of one field that breaks a rule.
    #[must_use]
    pub fn invalid(violation: Violation) -> Error {
        Error::Invalid(vec![violation])
    }

    /// Reports whether the store could not be asked, or did not answer: the case for an outage policy.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        if let Error::Store(error) = self {
            return error.retryable();
        }
        matches!(self, Error::Overloaded | Error::NoAnswer { .. } | Error::Closed { .. })
    }

    /// Reports whether the call failed although something may have been written.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        if let Error::Store(error) = self {
            return error.outcome_unknown();
        }
        matches!(self, Error::Closed { unknown: true, .. } | Error::NoAnswer { unknown: true })
    }
}

impl ServiceError for Error {
    fn describe(&self) -> Description<'_> {
        let unavailable = || Description::new(&store::STORE_UNAVAILABLE).retry_after(SOON);
        match self {
            Error::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Error::InvalidPolicy(_) => Description::new(&kit::INVALID_REQUEST),
            Error::RequestIdReused => Description::new(&kit::REQUEST_ID_REUSED),
            Error::StaleWrite { current } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::PolicyNotFound { id } => Description::new(&ratelimit::POLICY_NOT_FOUND).with("policy", id),
            Error::PolicyExists { id } => Description::new(&ratelimit::POLICY_EXISTS).with("policy", id),
            Error::PolicyFromFile { id } => Description::new(&ratelimit::POLICY_FROM_FILE).with("policy", id),
            Error::TooManyPolicies { limit } => {
                Description::new(&ratelimit::TOO_MANY_POLICIES).with("max_policies", limit)
            }
            Error::ChargeNotFound => Description::new(&ratelimit::CHARGE_NOT_FOUND),
            Error::AlreadySettled { cost } => Description::new(&ratelimit::ALREADY_SETTLED).with("cost", cost),
            Error::RefundExceedsCharge { left } => {
                Description::new(&ratelimit::REFUND_EXCEEDS_CHARGE).with("left", left)
            }
            Error::RefundNotAllowed => Description::new(&ratelimit::REFUND_NOT_ALLOWED),
            Error::Closed { policy, unknown } => unavailable().with("policy", policy).outcome_unknown(*unknown),
            Error::NoAnswer { unknown } => unavailable().outcome_unknown(*unknown),
            Error::Overloaded => Description::new(&kit::OVERLOADED),
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

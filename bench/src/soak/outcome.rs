//! Kinds of call, and their outcomes.

use std::time::{Duration, Instant};

use keyplane_contracts::reasons::{Reason, client, gateway, kit, ratelimit, revocation, session, store};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::clock::Mark;

/// Kind of call, or of wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Create,
    Get,
    Patch,
    Delete,
    List,
    /// Time from the beginning of a patch to its event.
    Event,
    Check,
    /// Check that asks the store.
    CheckStore,
    Revoke,
    Undo,
    Acquire,
    Reserve,
    Settle,
    Envoy,
    Gateway,
    /// Yardstick's round: what the machine itself takes.
    Control,
}

/// Call that ended.
#[derive(Debug)]
pub(super) struct Made<T> {
    pub(super) begin: Mark,
    pub(super) end: Instant,
    pub(super) result: Result<T, Failure>,
}

/// Cause of a failed call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) reason: String,
    /// Effect possible, now or later.
    pub(super) unknown: bool,
    pub(super) message: String,
}

/// Deadline of each call, which the services keep: the callers send none, so that it is not theirs that ends a call.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);
/// Time after which a caller gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Errors that calls may have while something is wrong.
static DISTURBED: [&Reason; 11] = [
    &store::STORE_UNAVAILABLE,
    &kit::OVERLOADED,
    &kit::STARTING,
    &kit::SHUTTING_DOWN,
    &revocation::FRESHNESS_UNKNOWN,
    &client::NOT_SENT,
    &client::CONNECTION_LOST,
    &revocation::REVOCATION_UNAVAILABLE,
    &gateway::RATE_LIMITER_UNAVAILABLE,
    &gateway::SERVICE_UNREACHABLE,
    &kit::DEADLINE_EXCEEDED,
];
/// Reason of what gives none.
pub(super) const NONE: &str = "(none)";
/// Answers rather than errors: the models say whether they are right.
static ANSWERS: [&Reason; 5] = [
    &session::SESSION_NOT_FOUND,
    &kit::STALE_WRITE,
    &ratelimit::CHARGE_NOT_FOUND,
    &ratelimit::ALREADY_SETTLED,
    &revocation::REVOCATION_NOT_FOUND,
];

// === impl Kind ===

impl Kind {
    pub(super) const ALL: [Kind; 16] = [
        Kind::Create,
        Kind::Get,
        Kind::Patch,
        Kind::Delete,
        Kind::List,
        Kind::Event,
        Kind::Check,
        Kind::CheckStore,
        Kind::Revoke,
        Kind::Undo,
        Kind::Acquire,
        Kind::Reserve,
        Kind::Settle,
        Kind::Envoy,
        Kind::Gateway,
        Kind::Control,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Create => "CreateSession",
            Kind::Get => "GetSession",
            Kind::Patch => "UpdateSession",
            Kind::Delete => "DeleteSession",
            Kind::List => "ListSessions",
            Kind::Event => "watch event",
            Kind::Check => "Check",
            Kind::CheckStore => "Check, by the store",
            Kind::Revoke => "Revoke",
            Kind::Undo => "UndoRevocation",
            Kind::Acquire => "Acquire",
            Kind::Reserve => "Reserve",
            Kind::Settle => "Commit, Cancel, Refund",
            Kind::Envoy => "ShouldRateLimit",
            Kind::Gateway => "through the gateway",
            Kind::Control => "(the yardstick)",
        }
    }
}

// === impl Failure ===

impl Failure {
    pub(super) fn hung() -> Failure {
        let message = format!("no answer within {} s", PATIENCE.as_secs());
        Failure { code: Code::Unknown, reason: NONE.to_owned(), unknown: true, message }
    }

    pub(super) fn is_documented(&self, kind: Kind) -> bool {
        // Answer to Envoy if something may have been charged, so that it asks no other instance.
        let charged =
            kind == Kind::Envoy && self.code == Code::DeadlineExceeded && self.is(store::STORE_UNAVAILABLE.name);
        // Without an answer, as of a process that was stopped or killed, there is no reason; the deadline is held elsewhere.
        let silent = self.code == Code::Unknown && self.is(NONE);
        self.is_answer()
            || charged
            || silent
            || DISTURBED.iter().any(|reason| self.code == reason.code && self.is(reason.name))
    }

    /// Reports whether the service did its work and answers no.
    pub(super) fn is_answer(&self) -> bool {
        ANSWERS.iter().any(|reason| self.is(reason.name))
    }

    pub(super) fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }

    pub(super) fn text(&self) -> String {
        format!("{:?} ({}): {}", self.code, self.reason, self.message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        let details = status.get_error_details();
        let info = details.error_info();
        let unknown = info.is_some_and(|info| info.metadata.get("outcome").is_some_and(|outcome| outcome == "unknown"))
            || !matches!(status.code(), Code::Unavailable | Code::NotFound | Code::Aborted | Code::FailedPrecondition);
        Failure {
            code: status.code(),
            reason: info.map_or_else(|| NONE.to_owned(), |info| info.reason.clone()),
            unknown,
            message: status.message().to_owned(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    pub(in crate::soak) fn status(code: Code, reason: &str, outcome: Option<&str>) -> Status {
        let metadata: HashMap<_, _> =
            outcome.map(|outcome| ("outcome".to_owned(), outcome.to_owned())).into_iter().collect();
        Status::with_error_details(code, "m", ErrorDetails::with_error_info(reason, "keyplane.dev", metadata))
    }

    #[test]
    fn the_outcome_of_a_failure_is_unknown_if_it_says_so_or_says_nothing() {
        let unknown = |code, reason, outcome| Failure::from(status(code, reason, outcome)).unknown;
        assert!(!unknown(Code::Unavailable, "STORE_UNAVAILABLE", None));
        assert!(unknown(Code::Unavailable, "STORE_UNAVAILABLE", Some("unknown")));
        assert!(unknown(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None));
        assert!(unknown(Code::Internal, "INTERNAL", None));
        assert!(Failure::hung().unknown);
    }
}

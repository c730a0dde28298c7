use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_server::ServiceError;
use tonic::Code;

use crate::error::Error;

/// An error in the gateway's terms. UNAVAILABLE: nothing was charged, and another instance may be asked. Where something may
/// have been charged that would charge twice, so it is DEADLINE_EXCEEDED, which the gateway does not repeat.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Refusal(#[from] Error);

// === impl Refusal ===

impl ServiceError for Refusal {
    fn code(&self) -> Code {
        let code = self.0.code();
        if self.0.outcome_unknown() {
            return Code::DeadlineExceeded;
        }
        // The store was never asked.
        if code == Code::DeadlineExceeded { Code::Unavailable } else { code }
    }

    fn reason(&self) -> &'static str {
        self.0.reason()
    }

    fn message(&self) -> String {
        self.0.message()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }

    fn violations(&self) -> &[Violation] {
        self.0.violations()
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        self.0.metadata()
    }

    fn quota(&self) -> Option<(String, String)> {
        self.0.quota()
    }
}

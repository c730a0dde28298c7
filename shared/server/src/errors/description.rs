//! Callers' view of an error.

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_contracts::reasons::Reason;
use tonic::Code;

/// Callers' view of an error: its reason, and what goes beyond it.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    /// Registered reason.
    pub reason: &'static Reason,
    /// Status code: the reason's, unless set otherwise.
    pub code: Code,
    /// Message in place of the error's `Display`, which may name internals.
    pub message: Option<String>,
    /// `RetryInfo`: wait before a repeat makes sense; the reason's, unless set otherwise.
    pub retry_after: Option<Duration>,
    /// `BadRequest`: each field that breaks a rule.
    pub violations: &'a [Violation],
    /// `ErrorInfo.metadata`: the changing parts of the message, for programs.
    pub metadata: Vec<(&'static str, String)>,
    /// `QuotaFailure`: subject of the limit, and the limit.
    pub quota: Option<(String, String)>,
}

// === impl Description ===

impl<'a> Description<'a> {
    /// Describes an error by `reason` alone.
    #[must_use]
    pub fn new(reason: &'static Reason) -> Self {
        let (code, retry_after) = (reason.code, reason.retry_after());
        Self { reason, code, message: None, retry_after, violations: &[], metadata: Vec::new(), quota: None }
    }

    /// Adds metadata.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// Adds `outcome: unknown` if a write may have happened.
    #[must_use]
    pub fn outcome_unknown(self, unknown: bool) -> Self {
        if unknown { self.with("outcome", "unknown") } else { self }
    }

    /// Sets the message.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// Sets the wait before a repeat.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Sets the violations.
    #[must_use]
    pub fn violations(self, violations: &'a [Violation]) -> Self {
        Self { violations, ..self }
    }

    /// Sets the quota that is used up.
    #[must_use]
    pub fn quota(self, subject: impl Into<String>, limit: impl Into<String>) -> Self {
        Self { quota: Some((subject.into(), limit.into())), ..self }
    }
}

//! What callers see of a store that fails.

use std::time::Duration;

use keyplane_valkey::{Error, ErrorKind};
use tonic::Code;

use super::{DEADLINE_EXCEEDED, ServiceError};

/// A good moment for a repeat when the store names none: by then a reconnect has been tried.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl ServiceError for Error {
    fn code(&self) -> Code {
        if self.is_past_deadline() {
            return Code::DeadlineExceeded;
        }
        match self.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Overloaded => Code::Unavailable,
            ErrorKind::FeatureMissing | ErrorKind::Layout => Code::FailedPrecondition,
            ErrorKind::Denied | ErrorKind::Script | ErrorKind::Decode => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        if self.is_past_deadline() {
            return DEADLINE_EXCEEDED;
        }
        match self.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => "STORE_UNAVAILABLE",
            ErrorKind::Overloaded => "OVERLOADED",
            ErrorKind::FeatureMissing => "ENGINE_FEATURE_MISSING",
            ErrorKind::Layout => "STORE_LAYOUT_MISMATCH",
            ErrorKind::Denied | ErrorKind::Script | ErrorKind::Decode => "INTERNAL",
        }
    }

    /// Fixed texts: the error itself may name hosts and keys.
    fn message(&self) -> String {
        if self.is_past_deadline() {
            return "the call's deadline left no time to ask the store: give it more".to_owned();
        }
        if let Some(next) = self.next_attempt() {
            let next = next.as_millis().max(1);
            return format!("the store has not answered lately: calls fail at once, next attempt in {next}ms");
        }
        match self.kind() {
            ErrorKind::Unavailable => "the store is unavailable: repeat the call later",
            ErrorKind::Timeout => "the store did not answer in time: repeat the call later",
            ErrorKind::Overloaded => "too many calls wait for the store: repeat the call later",
            ErrorKind::FeatureMissing => "the store lacks a feature that this service needs: ask its operator",
            ErrorKind::Layout => "the store holds data of another version of this service: ask its operator",
            ErrorKind::Denied | ErrorKind::Script | ErrorKind::Decode => "internal error",
        }
        .to_owned()
    }

    fn retry_after(&self) -> Option<Duration> {
        if self.is_past_deadline() {
            return None;
        }
        match self.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Overloaded => {
                Some(Error::retry_after(self).unwrap_or(RETRY_AFTER))
            }
            ErrorKind::FeatureMissing
            | ErrorKind::Layout
            | ErrorKind::Denied
            | ErrorKind::Script
            | ErrorKind::Decode => None,
        }
    }

    /// `outcome=unknown` when a write may or may not have happened: read before you repeat.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        if self.outcome_unknown() { vec![("outcome", "unknown".to_owned())] } else { Vec::new() }
    }
}

//! Callers' view of a store that fails.

use keyplane_contracts::reasons::{kit, store};
use keyplane_valkey::{Error, ErrorKind};

use super::{Description, ServiceError};

impl ServiceError for Error {
    /// Fixed texts: the error itself may name hosts and keys.
    fn describe(&self) -> Description<'_> {
        if self.is_past_deadline() {
            let message = "the call's deadline left no time to ask the store: give it more";
            return Description::new(&kit::DEADLINE_EXCEEDED).message(message);
        }
        let (reason, message) = match self.kind() {
            ErrorKind::Unavailable => (&store::STORE_UNAVAILABLE, "the store is unavailable: repeat the call later"),
            ErrorKind::Timeout => {
                (&store::STORE_UNAVAILABLE, "the store did not answer in time: repeat the call later")
            }
            ErrorKind::Overloaded => (&kit::OVERLOADED, "too many calls wait for the store: repeat the call later"),
            ErrorKind::FeatureMissing => {
                let message = "the store lacks a feature that this service needs: ask its operator";
                (&store::ENGINE_FEATURE_MISSING, message)
            }
            ErrorKind::Layout => {
                let message = "the store holds data of another version of this service: ask its operator";
                (&store::STORE_LAYOUT_MISMATCH, message)
            }
            ErrorKind::IndexMissing => {
                (&store::STORE_UNAVAILABLE, "the search index is not ready: repeat the call later")
            }
            ErrorKind::Denied | ErrorKind::Script | ErrorKind::Decode | ErrorKind::IndexExists => {
                (&kit::INTERNAL, "internal error")
            }
        };
        let message = match self.next_attempt() {
            Some(next) => {
                let next = next.as_millis().max(1);
                format!("the store has not answered lately: calls fail at once, next attempt in {next}ms")
            }
            None => message.to_owned(),
        };
        let description = Description::new(reason).message(message).outcome_unknown(self.outcome_unknown());
        let retry_after = self.retry_after().or(description.retry_after);
        Description { retry_after, ..description }
    }
}

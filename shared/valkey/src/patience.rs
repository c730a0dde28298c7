use std::time::Duration;

use crate::Error;

/// Longest wait of `operation` for the store, at most `limit` and what the request's deadline leaves.
///
/// Fails if that is less than a millisecond: nothing is sent then.
pub(crate) fn patience(limit: Duration, operation: &'static str) -> Result<Duration, Error> {
    let wait = keyplane_deadline::within(limit);
    if wait < Duration::from_millis(1) { Err(Error::deadline_passed(operation)) } else { Ok(wait) }
}

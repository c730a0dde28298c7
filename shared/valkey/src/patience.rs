//! Longest wait of a call.

use std::time::Duration;

use crate::Error;

/// Longest wait of `operation` for the store: `limit`, or less if the request's deadline comes first.
///
/// Fails below a millisecond: nothing is sent then.
pub(crate) fn patience(limit: Duration, operation: &'static str) -> Result<Duration, Error> {
    let wait = keyplane_deadline::within(limit);
    if wait < Duration::from_millis(1) { Err(Error::deadline_passed(operation)) } else { Ok(wait) }
}

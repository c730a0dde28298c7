//! Numbers and times on the wire.

use std::time::Duration;

/// Duration on the wire.
pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

/// Number on the wire. Only numbers that mean "no end" have more than 63 bits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

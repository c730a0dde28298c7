//! Numbers on the wire.

/// Number on the wire. Only numbers that mean "no end" have more than 63 bits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

//! Bounds of what callers write into the audit.

/// Longest initiator of a cause, in bytes.
pub const INITIATOR: usize = 128;
/// Longest description of a cause, in bytes.
pub const DESCRIPTION: usize = 256;

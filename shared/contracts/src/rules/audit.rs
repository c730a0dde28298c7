//! Bounds of requests about the audit, which all services share.

use super::{Rule, Table};

/// Longest initiator of a cause, in bytes.
pub const INITIATOR: usize = 128;
/// Longest description of a cause, in bytes.
pub const DESCRIPTION: usize = 256;

pub(crate) const RULES: Table = &[
    ("Cause.initiator", Rule::up_to(INITIATOR)),
    ("Cause.description", Rule::up_to(DESCRIPTION)),
    ("ListAuditEntriesRequest.page_size", Rule::Number { least: 0, most: i32::MAX as i64 }),
    ("ListAuditEntriesRequest.page_token", Rule::Opaque),
];

pub(crate) const ALWAYS_SENT: &[&str] = &["AuditEntry.time", "AuditEntry.cause"];

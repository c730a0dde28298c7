use keyplane_audit::Cause;
use keyplane_revocation::Millis;

use super::Record;

/// Entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Time of the entry, by the store's clock.
    pub time: Millis,
    /// Revocation after the change.
    pub record: Record,
    /// Cause of the change.
    pub cause: Cause,
}

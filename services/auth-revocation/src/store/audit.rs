//! Audit of a tenant: every revocation and undo, with its cause.

use keyplane_audit::{Page, Position, newest};

use super::{Store, codec};
use crate::domain::AuditEntry;
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Reads a page of a tenant's audit, newest first, after the entry `after`. Reads up to `size` + 1 entries of each
    /// partition, since any may have the newest.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn audit(&self, tenant: &str, size: u32, after: Option<Position>) -> Result<Page<AuditEntry>, Error> {
        let streams: Vec<_> = (0..self.partitions()).map(|partition| self.keys().audit(tenant, partition)).collect();
        newest(&self.inner.valkey, &streams, size, after, codec::audit).await
    }
}

//! GetRevocation, ListAuditEntries.

use keyplane_contracts::revocation::v1 as pb;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn get(&self, name: &str) -> Result<pb::Revocation, Error> {
        let (tenant, id) = convert::revocation_name(name, "name")?;
        self.store.get(tenant, &id).await.map(|record| convert::revocation(&record, self.revoker.rules()))
    }

    pub(super) async fn audit(
        &self,
        request: &pb::ListAuditEntriesRequest,
    ) -> Result<pb::ListAuditEntriesResponse, Error> {
        let (tenant, size, after) = convert::list(request)?;
        let page = self.store.audit(tenant, size, after.as_ref()).await?;
        Ok(convert::audit_page(tenant, page, self.revoker.rules()))
    }
}

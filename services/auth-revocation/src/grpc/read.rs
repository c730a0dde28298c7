//! Calls that read revocations and the audit: GetRevocation, ListAuditEntries.

use keyplane_audit::ListRequest;
use keyplane_contracts::audit::v1 as audit;
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
        request: &audit::ListAuditEntriesRequest,
    ) -> Result<audit::ListAuditEntriesResponse, Error> {
        let ListRequest { tenant, size, after } = ListRequest::parse(request).map_err(Error::Invalid)?;
        let page = self.store.audit(tenant.as_str(), size, after).await?;
        Ok(page.into_response(&tenant, convert::audit_entry))
    }
}

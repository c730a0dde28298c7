//! Calls that revoke and undo: RevokeToken and its siblings, BatchRevoke, UndoRevocation.

use keyplane_contracts::revocation::v1 as pb;

use super::Service;
use super::convert::{self, Bounds, Read, Reading};
use crate::app::Revoker;
use crate::error::Error;

// === impl Service ===

impl Service {
    /// Revokes what `read` reads of a request.
    pub(super) async fn revoke<R>(
        &self,
        read: fn(R, Reading<'_>) -> Read,
        request: R,
    ) -> Result<pb::Revocation, Error> {
        self.make(read(request, Reading::new("", None, bounds(&self.revoker)))).await
    }

    pub(super) async fn revoke_token_of(&self, request: pb::RevokeTokenRequest) -> Result<pb::Revocation, Error> {
        let proven = self.revoker.tokens().proves(&request.token).await;
        self.make(convert::token(request, proven, Reading::new("", None, bounds(&self.revoker)))).await
    }

    async fn make(&self, read: Read) -> Result<pb::Revocation, Error> {
        let written = self.revoker.revoke_one(read.map_err(Error::Invalid)).await;
        written.map(|written| convert::written(&written, self.revoker.rules()))
    }

    pub(super) async fn revoke_batch(&self, request: pb::BatchRevokeRequest) -> Result<pb::BatchRevokeResponse, Error> {
        let proven = self.revoker.prove(request.requests.iter().map(convert::token_of)).await;
        let revokes = convert::batch_revoke(request, bounds(&self.revoker), &proven)?;
        let results = self.revoker.revoke(revokes.into_iter().map(Ok)).await;
        Ok(convert::batch_revoked(&results, self.store.partitions(), self.revoker.rules()))
    }

    pub(super) async fn undo(&self, request: &pb::UndoRevocationRequest) -> Result<pb::Revocation, Error> {
        let (tenant, id, version, cause) = convert::undo(request)?;
        let written = self.revoker.undo(tenant, &id, version, cause).await?;
        Ok(convert::written(&written, self.revoker.rules()))
    }
}

/// Bounds of requests that are made now.
pub(super) fn bounds(revoker: &Revoker) -> Bounds<'_> {
    Bounds { rules: revoker.rules(), now: revoker.now(), tenant_claim: &revoker.tokens().tenant_claim }
}

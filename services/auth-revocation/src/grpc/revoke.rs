//! RevokeToken and its siblings, BatchRevoke, UndoRevocation.

use keyplane_contracts::revocation::v1 as pb;

use super::Service;
use super::convert::{self, Bounds};
use crate::app::Revoker;
use crate::domain::Revoke;
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) fn bounds(&self) -> Bounds<'_> {
        bounds(&self.revoker)
    }

    pub(super) async fn revoke(&self, revoke: Result<Revoke, Error>) -> Result<pb::Revocation, Error> {
        self.revoker.revoke_one(revoke?).await.map(|written| convert::written(&written, self.revoker.rules()))
    }

    pub(super) async fn revoke_token_of(&self, request: pb::RevokeTokenRequest) -> Result<pb::Revocation, Error> {
        let proven = self.revoker.tokens().proves(&request.token).await;
        self.revoke(convert::revoke_token(request, self.bounds(), proven)).await
    }

    pub(super) async fn revoke_batch(&self, request: pb::BatchRevokeRequest) -> Result<pb::BatchRevokeResponse, Error> {
        let proven = self.revoker.prove(request.requests.iter().map(convert::token_of)).await;
        let results = self.revoker.revoke(convert::batch_revoke(request, self.bounds(), &proven)?).await;
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
    Bounds { rules: revoker.rules(), now: revoker.now(), tenant_claim: revoker.tokens().tenant_claim() }
}

//! Calls that end sessions: delete one, revoke all.

use keyplane_contracts::session::v1 as pb;
use keyplane_server::if_match;
use tonic::Request;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn delete(&self, request: &Request<pb::DeleteSessionRequest>) -> Result<(), Error> {
        let (name, deletion) = convert::delete(request.get_ref(), if_match(request.metadata()))?;
        self.logout.delete(&name, &deletion).await
    }

    pub(super) async fn revoke_all(
        &self,
        request: &pb::RevokeAllSessionsRequest,
    ) -> Result<pb::RevokeAllSessionsResponse, Error> {
        let (user, except) = convert::revoke_all(request)?;
        let revoked_count = self.logout.revoke_all(&user, except.as_ref(), request.revoke_tokens).await?;
        Ok(pb::RevokeAllSessionsResponse { revoked_count })
    }
}

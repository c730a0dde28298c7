//! gRPC services: [`Service`] is our own contract, [`Authz`] is Envoy's external authorization. Each call is converted,
//! handed to the app, and its result converted back.

mod authz;
mod bulk;
mod check;
mod convert;
mod oauth;
mod read;
mod revoke;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_server::RevocationService;
use keyplane_server::{Drain, status};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::authz::Authz;
use crate::app::check::Checker;
use crate::app::replica::Mirror;
use crate::app::{Revoker, Watches};
use crate::store::Store;

/// `keyplane.revocation.v1.RevocationService`.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) mirror: Mirror,
    pub(crate) checker: Checker,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) watches: Watches,
    pub(crate) drain: Drain,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

// === impl Service ===

#[tonic::async_trait]
impl RevocationService for Service {
    type BulkRevokeStream = Responses<pb::BulkRevokeResponse>;
    type WatchStream = Responses<pb::WatchResponse>;

    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Answer<pb::Revocation> {
        self.revoke_token_of(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_session(&self, request: Request<pb::RevokeSessionRequest>) -> Answer<pb::Revocation> {
        self.revoke(convert::session, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_subject(&self, request: Request<pb::RevokeSubjectRequest>) -> Answer<pb::Revocation> {
        self.revoke(convert::subject, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_client(&self, request: Request<pb::RevokeClientRequest>) -> Answer<pb::Revocation> {
        self.revoke(convert::client, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_key(&self, request: Request<pb::RevokeKeyRequest>) -> Answer<pb::Revocation> {
        self.revoke(convert::key, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_tenant(&self, request: Request<pb::RevokeTenantRequest>) -> Answer<pb::Revocation> {
        self.revoke(convert::whole_tenant, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn batch_revoke(&self, request: Request<pb::BatchRevokeRequest>) -> Answer<pb::BatchRevokeResponse> {
        self.revoke_batch(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn bulk_revoke(&self, request: Request<Streaming<pb::BulkRevokeRequest>>) -> Answer<Self::BulkRevokeStream> {
        let results = bulk::stream(self.revoker.clone(), request.into_inner(), self.drain.clone());
        Ok(Response::new(Box::pin(results)))
    }

    async fn get_revocation(&self, request: Request<pb::GetRevocationRequest>) -> Answer<pb::Revocation> {
        self.get(&request.get_ref().name).await.map(Response::new).map_err(status)
    }

    async fn undo_revocation(&self, request: Request<pb::UndoRevocationRequest>) -> Answer<pb::Revocation> {
        self.undo(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn list_audit_entries(
        &self,
        request: Request<audit::ListAuditEntriesRequest>,
    ) -> Answer<audit::ListAuditEntriesResponse> {
        self.audit(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn revoke_o_auth_token(&self, request: Request<pb::RevokeOAuthTokenRequest>) -> Answer<()> {
        self.revoke_oauth(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn check(&self, request: Request<pb::CheckRequest>) -> Answer<pb::CheckResponse> {
        self.check_one(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn batch_check(&self, request: Request<pb::BatchCheckRequest>) -> Answer<pb::BatchCheckResponse> {
        self.check_batch(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let watch = self.open_watch(request.get_ref()).await.map_err(status)?;
        Ok(Response::new(Box::pin(watch::responses(watch))))
    }

    async fn get_head(&self, _: Request<pb::GetHeadRequest>) -> Answer<pb::GetHeadResponse> {
        Ok(Response::new(self.head()))
    }

    async fn wait_for_propagation(
        &self,
        request: Request<pb::WaitForPropagationRequest>,
    ) -> Answer<pb::WaitForPropagationResponse> {
        self.wait(request.get_ref()).await.map(Response::new).map_err(status)
    }
}

//! The faces: converts, asks, converts back.
//!
//! [`Service`] is our own contract, [`Authz`] is Envoy's external authorization, [`OAuth`] judges the tokens of RFC 7009.

mod authz;
mod bulk;
mod convert;
mod oauth;
mod watch;
mod writer;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_server::RevocationService;
use keyplane_revocation::Rules;
use keyplane_server::{Drain, status};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::authz::Authz;
pub(crate) use self::oauth::{Jwks, OAuth};
pub(crate) use self::watch::Watches;
use self::writer::Writer;
use crate::domain::Revoke;
use crate::error::Error;
use crate::replica::{Checker, Mirror};
use crate::store::Store;

/// The revocation service.
pub(crate) struct Service {
    store: Store,
    mirror: Mirror,
    checker: Checker,
    writer: Arc<Writer>,
    watches: Watches,
    drain: Drain,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

// === impl Service ===

impl Service {
    /// A service that writes to `store`, and answers by `checker` from what `mirror` follows.
    pub(crate) fn new(
        store: Store,
        mirror: Mirror,
        checker: Checker,
        rules: Rules,
        oauth: OAuth,
        watches: Watches,
        drain: Drain,
    ) -> Service {
        let writer = Arc::new(Writer::new(store.clone(), mirror.clone(), rules, oauth));
        Service { store, mirror, checker, writer, watches, drain }
    }

    async fn revoke(&self, revoke: Result<Revoke, Error>) -> Result<pb::Revocation, Error> {
        self.writer.revoke_one(revoke?).await.map(|written| convert::written(&written, self.writer.rules()))
    }

    async fn batch_revoke(&self, request: pb::BatchRevokeRequest) -> Result<pb::BatchRevokeResponse, Error> {
        let proven = self.writer.prove(request.requests.iter().map(Some)).await;
        let results = self.writer.revoke(convert::batch_revoke(request, self.writer.bounds(), &proven)?).await;
        Ok(convert::batch_revoked(&results, self.store.partitions(), self.writer.rules()))
    }

    async fn get(&self, name: &str) -> Result<pb::Revocation, Error> {
        let (tenant, id) = convert::revocation_name(name, "name")?;
        self.store.get(tenant, &id).await.map(|record| convert::revocation(&record, self.writer.rules()))
    }

    async fn undo(&self, request: &pb::UndoRevocationRequest) -> Result<pb::Revocation, Error> {
        let (tenant, id, version, cause) = convert::undo(request)?;
        let written = self.writer.undo(tenant, &id, version, cause).await?;
        Ok(convert::written(&written, self.writer.rules()))
    }

    async fn audit(&self, request: &pb::ListAuditEntriesRequest) -> Result<pb::ListAuditEntriesResponse, Error> {
        let (tenant, size, after) = convert::list(request)?;
        let page = self.store.audit(tenant, size, after.as_ref()).await?;
        Ok(convert::audit_page(tenant, page, self.writer.rules()))
    }

    async fn revoke_oauth(&self, request: &pb::RevokeOAuthTokenRequest) -> Result<(), Error> {
        match self.writer.oauth().read(request, self.store.now()).await? {
            Some(revoke) => self.writer.revoke_one(revoke).await.map(drop),
            None => Ok(()),
        }
    }

    async fn check_one(&self, request: &pb::CheckRequest) -> Result<pb::CheckResponse, Error> {
        let (claims, demands) = convert::check(request, self.store.partitions())?;
        let found = match self.checker.check_now(&claims, &demands) {
            Some(found) => found,
            None => self.checker.check(&claims, &demands).await?,
        };
        Ok(convert::check_response(claims.tenant, &found))
    }

    async fn check_batch(&self, request: &pb::BatchCheckRequest) -> Result<pb::BatchCheckResponse, Error> {
        let (claims, demands) = convert::batch(request, self.store.partitions())?;
        let found = self.checker.check_many(&claims, &demands).await?;
        Ok(pb::BatchCheckResponse {
            results: found.answers.into_iter().map(convert::check_result).collect(),
            freshness: Some(convert::freshness(&found.freshness)),
        })
    }

    async fn wait(&self, request: &pb::WaitForPropagationRequest) -> Result<pb::WaitForPropagationResponse, Error> {
        let (sequence, timeout) = convert::wait(request, self.store.partitions())?;
        // Whoever gives the call less time than the wait is told who lags, and not that the time is up.
        let timeout = keyplane_deadline::within(timeout);
        self.mirror.wait(&sequence, timeout).await.map(convert::propagation)
    }
}

#[tonic::async_trait]
impl RevocationService for Service {
    type BulkRevokeStream = Responses<pb::BulkRevokeResponse>;
    type WatchStream = Responses<pb::WatchResponse>;

    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Answer<pb::Revocation> {
        let request = request.into_inner();
        let proven = self.writer.oauth().proves(&request.token).await;
        let revoke = convert::revoke_token(request, self.writer.bounds(), proven);
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn revoke_session(&self, request: Request<pb::RevokeSessionRequest>) -> Answer<pb::Revocation> {
        let revoke = convert::revoke_session(request.into_inner(), self.writer.bounds());
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn revoke_subject(&self, request: Request<pb::RevokeSubjectRequest>) -> Answer<pb::Revocation> {
        let revoke = convert::revoke_subject(request.into_inner(), self.writer.bounds());
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn revoke_client(&self, request: Request<pb::RevokeClientRequest>) -> Answer<pb::Revocation> {
        let revoke = convert::revoke_client(request.into_inner(), self.writer.bounds());
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn revoke_key(&self, request: Request<pb::RevokeKeyRequest>) -> Answer<pb::Revocation> {
        let revoke = convert::revoke_key(request.into_inner(), self.writer.bounds());
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn revoke_tenant(&self, request: Request<pb::RevokeTenantRequest>) -> Answer<pb::Revocation> {
        let revoke = convert::revoke_tenant(request.into_inner(), self.writer.bounds());
        self.revoke(revoke).await.map(Response::new).map_err(status)
    }

    async fn batch_revoke(&self, request: Request<pb::BatchRevokeRequest>) -> Answer<pb::BatchRevokeResponse> {
        self.batch_revoke(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn bulk_revoke(&self, request: Request<Streaming<pb::BulkRevokeRequest>>) -> Answer<Self::BulkRevokeStream> {
        let results = bulk::stream(self.writer.clone(), request.into_inner(), self.drain.clone());
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
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Answer<pb::ListAuditEntriesResponse> {
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
        let pb::WatchRequest { parent, resume_token } = request.get_ref();
        let tenant = convert::watched(parent).map_err(status)?;
        let feed = self.watches.open(tenant, resume_token).await.map_err(status)?;
        Ok(Response::new(Box::pin(feed.responses())))
    }

    async fn get_head(&self, _: Request<pb::GetHeadRequest>) -> Answer<pb::GetHeadResponse> {
        Ok(Response::new(convert::head(&self.mirror.head(), self.store.time())))
    }

    async fn wait_for_propagation(
        &self,
        request: Request<pb::WaitForPropagationRequest>,
    ) -> Answer<pb::WaitForPropagationResponse> {
        self.wait(request.get_ref()).await.map(Response::new).map_err(status)
    }
}

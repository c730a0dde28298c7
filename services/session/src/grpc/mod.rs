//! The gRPC face: converts, calls the store, converts back.

mod convert;
mod sse;
mod watch;

use std::pin::Pin;

use futures::Stream;
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::names::SessionId;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_server::SessionService;
use keyplane_server::{if_match, random, status};
use tonic::{Request, Response, Status};

use crate::domain::{Policies, check_timeouts};
use crate::error::Error;
use crate::logout::Logout;
use crate::store::Store;
pub(crate) use watch::Watches;

/// The session service.
pub(crate) struct Service {
    store: Store,
    logout: Logout,
    policies: Policies,
    watches: Watches,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Service ===

impl Service {
    /// A service over `store`.
    pub(crate) fn new(store: Store, logout: Logout, policies: Policies, watches: Watches) -> Service {
        Service { store, logout, policies, watches }
    }

    async fn create(&self, request: pb::CreateSessionRequest) -> Result<pb::Session, Error> {
        let (user, new, mut violations) = convert::new_session(request)?;
        let policy = self.policies.of(&user.tenant);
        check_timeouts(new.idle_timeout, new.absolute_timeout, policy, &mut violations);
        violations.into_result(()).map_err(Error::Invalid)?;
        self.store.create(&user, random_id()?, &new, policy).await.map(convert::session)
    }

    async fn list(&self, request: &pb::ListSessionsRequest) -> Result<pb::ListSessionsResponse, Error> {
        let (user, size, after) = convert::list(request)?;
        let page = self.store.list(&user, size, after.as_ref()).await?;
        Ok(convert::page(&user, page))
    }

    async fn update(&self, request: Request<pb::UpdateSessionRequest>) -> Result<pb::Session, Error> {
        let if_match = if_match(request.metadata());
        let (name, patch) = convert::patch(request.into_inner(), if_match)?;
        self.store.patch(&name, &patch).await.map(convert::session)
    }

    async fn touch(&self, request: &pb::TouchSessionRequest) -> Result<pb::TouchSessionResponse, Error> {
        let name = convert::session_name(&request.name, "name")?;
        self.store.touch(&name).await.map(convert::touched)
    }

    async fn rotate(&self, request: &pb::RotateSessionRequest) -> Result<pb::Session, Error> {
        let (name, request) = convert::rotate(request)?;
        self.store.rotate(&name, random_id()?, request.as_ref()).await.map(convert::session)
    }

    async fn delete(&self, request: &Request<pb::DeleteSessionRequest>) -> Result<(), Error> {
        let if_match = if_match(request.metadata());
        let request = request.get_ref();
        let (name, version) = convert::delete(request, if_match)?;
        let deleted = if request.revoke_tokens {
            self.logout.delete(&name).await
        } else {
            self.store.delete(&name, version).await
        };
        match deleted {
            Err(Error::NotFound) if request.allow_missing => Ok(()),
            result => result,
        }
    }

    async fn revoke_all(&self, request: &pb::RevokeAllSessionsRequest) -> Result<i32, Error> {
        let (user, except) = convert::revoke_all(request)?;
        if request.revoke_tokens {
            return self.logout.revoke_all(&user, except.as_ref()).await;
        }
        self.store.revoke_all(&user, except.as_ref(), None).await
    }
}

#[tonic::async_trait]
impl SessionService for Service {
    type WatchSessionsStream = Events<pb::SessionEvent>;
    type StreamSessionEventsStream = Events<HttpBody>;

    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Result<Response<pb::Session>, Status> {
        self.create(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Result<Response<pb::Session>, Status> {
        let name = convert::session_name(&request.get_ref().name, "name").map_err(status)?;
        self.store.get(&name).await.map(convert::session).map(Response::new).map_err(status)
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        self.list(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn update_session(
        &self,
        request: Request<pb::UpdateSessionRequest>,
    ) -> Result<Response<pb::Session>, Status> {
        self.update(request).await.map(Response::new).map_err(status)
    }

    async fn touch_session(
        &self,
        request: Request<pb::TouchSessionRequest>,
    ) -> Result<Response<pb::TouchSessionResponse>, Status> {
        self.touch(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn rotate_session(
        &self,
        request: Request<pb::RotateSessionRequest>,
    ) -> Result<Response<pb::Session>, Status> {
        self.rotate(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn delete_session(&self, request: Request<pb::DeleteSessionRequest>) -> Result<Response<()>, Status> {
        self.delete(&request).await.map(Response::new).map_err(status)
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<pb::RevokeAllSessionsRequest>,
    ) -> Result<Response<pb::RevokeAllSessionsResponse>, Status> {
        let revoked_count = self.revoke_all(request.get_ref()).await.map_err(status)?;
        Ok(Response::new(pb::RevokeAllSessionsResponse { revoked_count }))
    }

    async fn watch_sessions(
        &self,
        request: Request<pb::WatchSessionsRequest>,
    ) -> Result<Response<Self::WatchSessionsStream>, Status> {
        let request = request.get_ref();
        let watch = convert::watch(&request.name, &request.after).map_err(status)?;
        let events = self.watches.open(&self.store, watch).await.map_err(status)?;
        Ok(Response::new(Box::pin(events.typed())))
    }

    async fn stream_session_events(
        &self,
        request: Request<pb::StreamSessionEventsRequest>,
    ) -> Result<Response<Self::StreamSessionEventsStream>, Status> {
        let last_seen = request.metadata().get("last-event-id").and_then(|id| id.to_str().ok());
        let last_seen = last_seen.unwrap_or(&request.get_ref().after);
        let watch = convert::watch(&request.get_ref().name, last_seen).map_err(status)?;
        let events = self.watches.open(&self.store, watch).await.map_err(status)?;
        Ok(Response::new(Box::pin(sse::stream(events))))
    }
}

/// Random session id.
fn random_id() -> Result<SessionId, Error> {
    random::bytes().map(SessionId::from_bits).map_err(|_| Error::NoRandomness)
}

//! gRPC face of the service: converts a request, calls `app` or `store`, converts the result back.
//!
//! `sessions` has the calls on live sessions, `endings` those that end them, `watch` and `event_stream` the two streams.

mod convert;
mod endings;
mod event_stream;
mod sessions;
mod watch;

use std::pin::Pin;

use futures::Stream;
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_server::SessionService;
use keyplane_server::status;
use tonic::{Request, Response, Status};

use crate::app::{Login, Logout, Watches};
use crate::error::Error;
use crate::store::Store;

/// Implementation of `keyplane.session.v1.SessionService`.
pub(crate) struct Service {
    store: Store,
    login: Login,
    logout: Logout,
    watches: Watches,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Reply<T> = Result<Response<T>, Status>;

// === impl Service ===

impl Service {
    pub(crate) fn new(store: Store, login: Login, logout: Logout, watches: Watches) -> Service {
        Service { store, login, logout, watches }
    }
}

fn reply<T>(result: Result<T, Error>) -> Reply<T> {
    result.map(Response::new).map_err(status)
}

#[tonic::async_trait]
impl SessionService for Service {
    type WatchSessionsStream = Events<pb::SessionEvent>;
    type StreamSessionEventsStream = Events<HttpBody>;

    async fn create_session(&self, request: Request<pb::CreateSessionRequest>) -> Reply<pb::Session> {
        reply(self.create(request.into_inner()).await)
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Reply<pb::Session> {
        reply(self.get(request.get_ref()).await)
    }

    async fn list_sessions(&self, request: Request<pb::ListSessionsRequest>) -> Reply<pb::ListSessionsResponse> {
        reply(self.list(request.get_ref()).await)
    }

    async fn update_session(&self, request: Request<pb::UpdateSessionRequest>) -> Reply<pb::Session> {
        reply(self.update(request).await)
    }

    async fn touch_session(&self, request: Request<pb::TouchSessionRequest>) -> Reply<pb::TouchSessionResponse> {
        reply(self.touch(request.get_ref()).await)
    }

    async fn rotate_session(&self, request: Request<pb::RotateSessionRequest>) -> Reply<pb::Session> {
        reply(self.rotate(request.get_ref()).await)
    }

    async fn delete_session(&self, request: Request<pb::DeleteSessionRequest>) -> Reply<()> {
        reply(self.delete(&request).await)
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<pb::RevokeAllSessionsRequest>,
    ) -> Reply<pb::RevokeAllSessionsResponse> {
        reply(self.revoke_all(request.get_ref()).await)
    }

    async fn watch_sessions(&self, request: Request<pb::WatchSessionsRequest>) -> Reply<Self::WatchSessionsStream> {
        let opened = self.watch(request.get_ref()).await;
        reply(opened.map(|watch| Box::pin(watch::messages(watch)) as _))
    }

    async fn stream_session_events(
        &self,
        request: Request<pb::StreamSessionEventsRequest>,
    ) -> Reply<Self::StreamSessionEventsStream> {
        let opened = self.watch_from_browser(&request).await;
        reply(opened.map(|watch| Box::pin(event_stream::bodies(watch)) as _))
    }
}

//! Calls on live sessions: create, get, list, update, touch, rotate.

use keyplane_contracts::session::v1 as pb;
use keyplane_server::if_match;
use tonic::Request;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn create(&self, request: pb::CreateSessionRequest) -> Result<pb::Session, Error> {
        let (user, new, violations) = convert::create(request)?;
        self.login.create(&user, &new, violations).await.map(convert::session)
    }

    pub(super) async fn get(&self, request: &pb::GetSessionRequest) -> Result<pb::Session, Error> {
        let name = convert::session_name(&request.name)?;
        self.store.get(&name).await.map(convert::session)
    }

    pub(super) async fn list(&self, request: &pb::ListSessionsRequest) -> Result<pb::ListSessionsResponse, Error> {
        let (user, size, after) = convert::list(request)?;
        let page = self.store.list(&user, size, after.as_ref()).await?;
        Ok(convert::page(&user, page))
    }

    pub(super) async fn update(&self, request: Request<pb::UpdateSessionRequest>) -> Result<pb::Session, Error> {
        let if_match = if_match(request.metadata());
        let (name, patch) = convert::patch(request.into_inner(), if_match)?;
        self.store.patch(&name, &patch).await.map(convert::session)
    }

    pub(super) async fn touch(&self, request: &pb::TouchSessionRequest) -> Result<pb::TouchSessionResponse, Error> {
        let name = convert::session_name(&request.name)?;
        self.store.touch(&name).await.map(convert::touched)
    }

    pub(super) async fn rotate(&self, request: &pb::RotateSessionRequest) -> Result<pb::Session, Error> {
        let (name, request) = convert::rotate(request)?;
        self.login.rotate(&name, request.as_ref()).await.map(convert::session)
    }
}

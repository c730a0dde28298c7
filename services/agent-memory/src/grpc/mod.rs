//! gRPC face of the service: converts a request, calls `app`, converts the result back.

mod convert;
mod memories;
mod sessions;

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::memory::v1::memory_service_server::MemoryService;
use keyplane_server::status;
use tonic::{Request, Response, Status};

use crate::app::embedded::Embedded;
use crate::app::forget::Forget;
use crate::app::memories::Memories;
use crate::app::sessions::Sessions;
use crate::error::Error;

/// Implementation of `keyplane.memory.v1.MemoryService`.
pub(crate) struct Service {
    /// Use cases of the calls with texts.
    pub(crate) embedded: Embedded,
    /// Use cases of ListSessionEvents and TrimSession.
    pub(crate) sessions: Sessions,
    /// Use cases of GetMemory and ListMemories.
    pub(crate) memories: Memories,
    /// Use case of Forget.
    pub(crate) forget: Forget,
}

type Reply<T> = Result<Response<T>, Status>;

fn reply<T>(result: Result<T, Error>) -> Reply<T> {
    result.map(Response::new).map_err(status)
}

#[tonic::async_trait]
impl MemoryService for Service {
    async fn remember(&self, request: Request<pb::RememberRequest>) -> Reply<pb::RememberResponse> {
        reply(self.remember_all(request.into_inner()).await)
    }

    async fn recall(&self, request: Request<pb::RecallRequest>) -> Reply<pb::RecallResponse> {
        reply(self.recall_best(request.into_inner()).await)
    }

    async fn get_memory(&self, request: Request<pb::GetMemoryRequest>) -> Reply<pb::Memory> {
        reply(self.get(request.get_ref()).await)
    }

    async fn list_memories(&self, request: Request<pb::ListMemoriesRequest>) -> Reply<pb::ListMemoriesResponse> {
        reply(self.list(request.get_ref()).await)
    }

    async fn update_memory(&self, request: Request<pb::UpdateMemoryRequest>) -> Reply<pb::Memory> {
        reply(self.change(request).await)
    }

    async fn append_session(&self, request: Request<pb::AppendSessionRequest>) -> Reply<pb::AppendSessionResponse> {
        reply(self.append(request.into_inner()).await)
    }

    async fn list_session_events(
        &self,
        request: Request<pb::ListSessionEventsRequest>,
    ) -> Reply<pb::ListSessionEventsResponse> {
        reply(self.list_events(request.get_ref()).await)
    }

    async fn trim_session(&self, request: Request<pb::TrimSessionRequest>) -> Reply<pb::TrimSessionResponse> {
        reply(self.trim(request.get_ref()).await)
    }

    async fn summarize_session(
        &self,
        request: Request<pb::SummarizeSessionRequest>,
    ) -> Reply<pb::SummarizeSessionResponse> {
        reply(self.summarize(request.into_inner()).await)
    }

    async fn forget(&self, request: Request<pb::ForgetRequest>) -> Reply<pb::ForgetResponse> {
        reply(self.forget_all(request.into_inner()).await)
    }
}

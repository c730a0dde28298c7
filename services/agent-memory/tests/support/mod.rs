//! Whole service, in this process, on ports of its own, with a space for the vectors of its callers.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::time::Duration;

use keyplane_agent_memory::{Config, SERVICE};
use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::memory::v1::memory_service_client::MemoryServiceClient;
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
pub use keyplane_testkit::{details, violated};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

pub const TENANT: &str = "tenants/acme";
pub const PATIENCE: Duration = Duration::from_secs(20);
const SPACES: &str = "spaces: [{id: own, model: m, revision: '1', dimension: 8}]";

pub struct Service {
    pub running: Running,
    pub client: MemoryServiceClient<Channel>,
    _spaces: TempDir,
}

/// Starts the service on the store at `url`, with `settings`, and waits until it is ready.
pub async fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    let spaces = folder.path().join("spaces.yaml");
    std::fs::write(&spaces, SPACES).expect("a file of spaces");
    let spaces = spaces.to_str().expect("a path in UTF-8");
    let all: Vec<_> = settings.iter().copied().chain([("KEYPLANE_MEMORY_SPACES_FILE", spaces)]).collect();
    let app = keyplane_testkit::app();
    let env = Env::from_map(keyplane_testkit::settings(&app, url, &all));
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_agent_memory::start(server, config).await.expect("the service starts");
    let client = MemoryServiceClient::new(keyplane_testkit::channel(running.grpc_addr()));
    let service = Service { running, client, _spaces: folder };
    keyplane_testkit::ready(service.running.admin_addr()).await;
    service
}

/// Starts the service on the engine that the tests of this binary share.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::search_engine().url(), settings).await
}

/// Vector that points along `axis`, with a little of the next one.
pub fn vector(axis: usize, little: f32) -> pb::Vector {
    let mut values = vec![0.0; 8];
    values[axis] = 1.0;
    values[(axis + 1) % 8] = little;
    pb::Vector { values }
}

/// Memory with a text and a vector.
pub fn memory(text: &str, axis: usize) -> pb::Memory {
    pb::Memory { text: text.to_owned(), vector: Some(vector(axis, 0.0)), ..pb::Memory::default() }
}

/// Texts of the memories, in their order.
pub fn texts(response: &pb::RecallResponse) -> Vec<&str> {
    response.memories.iter().map(|recalled| recalled.memory.as_ref().expect("a memory").text.as_str()).collect()
}

// === impl Service ===

impl Service {
    /// Remembers for a user of the tenant; an empty one shares the memories.
    pub async fn remember(&mut self, user: &str, memories: Vec<pb::Memory>) -> Result<pb::RememberResponse, Status> {
        let request = pb::RememberRequest {
            parent: TENANT.to_owned(),
            user: user.to_owned(),
            memories,
            ..pb::RememberRequest::default()
        };
        self.client.remember(request).await.map(tonic::Response::into_inner)
    }

    /// Remembers one memory, and returns its result.
    pub async fn one(&mut self, user: &str, memory: pb::Memory) -> pb::RememberResult {
        let response = self.remember(user, vec![memory]).await.expect("a response");
        response.results.into_iter().next().expect("a result")
    }

    /// Recalls for a user, by words and a vector.
    pub async fn recall(&mut self, user: &str, query: &str, axis: usize) -> pb::RecallResponse {
        let request = pb::RecallRequest {
            user: user.to_owned(),
            query: query.to_owned(),
            vector: Some(vector(axis, 0.0)),
            ..pb::RecallRequest::default()
        };
        self.ask(request).await.expect("a response")
    }

    pub async fn ask(&mut self, request: pb::RecallRequest) -> Result<pb::RecallResponse, Status> {
        let request = pb::RecallRequest { parent: TENANT.to_owned(), ..request };
        self.client.recall(request).await.map(tonic::Response::into_inner)
    }

    pub async fn get(&mut self, name: &str) -> Result<pb::Memory, Status> {
        let request = pb::GetMemoryRequest { name: name.to_owned() };
        self.client.get_memory(request).await.map(tonic::Response::into_inner)
    }

    pub async fn list(&mut self, request: pb::ListMemoriesRequest) -> Result<pb::ListMemoriesResponse, Status> {
        let request = pb::ListMemoriesRequest { parent: TENANT.to_owned(), ..request };
        self.client.list_memories(request).await.map(tonic::Response::into_inner)
    }

    pub async fn update(&mut self, memory: pb::Memory, mask: &[&str]) -> Result<pb::Memory, Status> {
        let paths: Vec<_> = mask.iter().map(|path| (*path).to_owned()).collect();
        let request = pb::UpdateMemoryRequest {
            memory: Some(memory),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            remove_metadata: Vec::new(),
        };
        self.client.update_memory(request).await.map(tonic::Response::into_inner)
    }

    pub async fn forget(&mut self, request: pb::ForgetRequest) -> Result<pb::ForgetResponse, Status> {
        let request = pb::ForgetRequest { parent: TENANT.to_owned(), ..request };
        self.client.forget(request).await.map(tonic::Response::into_inner)
    }
}

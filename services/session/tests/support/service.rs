//! Whole service, in this process, on ports of its own.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::time::Duration;

use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
use keyplane_session::{Config, SERVICE};
pub use keyplane_testkit::details;
use tonic::Status;
use tonic::transport::Channel;

pub const PARENT: &str = "tenants/acme/users/u-42";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Service {
    pub running: Running,
    pub client: SessionServiceClient<Channel>,
}

/// Starts the service on the store at `url`, with `settings`, and waits until it is ready.
pub async fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    let app = keyplane_testkit::app();
    let service = start_as(&app, url, settings).await;
    service.wait_ready().await;
    service
}

pub async fn start_as(app: &str, url: &str, settings: &[(&str, &str)]) -> Service {
    let env = Env::from_map(keyplane_testkit::settings(app, url, settings));
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_session::start(server, config).await.expect("the service starts");
    let client = SessionServiceClient::new(keyplane_testkit::channel(running.grpc_addr()));
    Service { running, client }
}

/// Starts the service on the server that the tests of this binary share.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::valkey().url(), settings).await
}

// === impl Service ===

impl Service {
    pub async fn wait_ready(&self) {
        keyplane_testkit::ready(self.running.admin_addr()).await;
    }

    pub async fn create(&mut self, session: pb::Session) -> pb::Session {
        let request = pb::CreateSessionRequest { session: Some(session), ..parent() };
        self.client.create_session(request).await.expect("a session is made").into_inner()
    }

    pub async fn get(&mut self, name: &str) -> Result<pb::Session, Status> {
        let request = pb::GetSessionRequest { name: name.to_owned() };
        self.client.get_session(request).await.map(tonic::Response::into_inner)
    }

    pub async fn update(&mut self, session: pb::Session) -> Result<pb::Session, Status> {
        let request = pb::UpdateSessionRequest { session: Some(session), ..pb::UpdateSessionRequest::default() };
        self.client.update_session(request).await.map(tonic::Response::into_inner)
    }
}

pub fn parent() -> pb::CreateSessionRequest {
    pb::CreateSessionRequest { parent: PARENT.to_owned(), ..pb::CreateSessionRequest::default() }
}

/// Session of the examples.
pub fn sample() -> pb::Session {
    pb::Session {
        company_id: Some("c-7".to_owned()),
        last_path: Some("/home".to_owned()),
        attributes: [("theme".to_owned(), "dark".to_owned())].into(),
        ..pb::Session::default()
    }
}

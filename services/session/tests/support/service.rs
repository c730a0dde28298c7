//! The whole service, in this process, on ports of its own.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::time::Duration;

use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
use keyplane_session::{Config, SERVICE};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub const PARENT: &str = "tenants/acme/users/u-42";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Service {
    pub running: Running,
    pub client: SessionServiceClient<Channel>,
}

/// Starts the service on the store at `url`, with `settings` besides; waits until it is ready if `ready`.
pub async fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    let app = keyplane_testkit::app();
    let service = start_as(&app, url, settings).await;
    service.wait_ready().await;
    service
}

pub async fn start_as(app: &str, url: &str, settings: &[(&str, &str)]) -> Service {
    let mut given = vec![
        ("KEYPLANE_APP", app),
        ("KEYPLANE_KV_URL", url),
        ("KEYPLANE_GRPC_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_DRAIN_DELAY", "0s"),
    ];
    given.extend(settings);
    let (server, config) =
        config::read(Env::from_map(given), &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_session::start(server, config).await.expect("the service starts");
    let client = SessionServiceClient::new(channel(&running));
    Service { running, client }
}

/// The service on the server that the tests of this binary share.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::valkey().url(), settings).await
}

pub fn channel(running: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", running.grpc_addr())).expect("an address").connect_lazy()
}

// === impl Service ===

impl Service {
    pub async fn wait_ready(&self) {
        let url = format!("http://{}/readyz", self.running.admin_addr());
        keyplane_testkit::eventually("the service is ready", PATIENCE, async || {
            reqwest::get(&url).await.is_ok_and(|response| response.status().is_success())
        })
        .await;
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

/// A session as the example makes it.
pub fn sample() -> pb::Session {
    pb::Session {
        company_id: Some("c-7".to_owned()),
        last_path: Some("/home".to_owned()),
        attributes: [("theme".to_owned(), "dark".to_owned())].into(),
        ..pb::Session::default()
    }
}

/// Holds a status against its code and reason, and returns its details.
#[track_caller]
pub fn details(status: &Status, code: Code, reason: &str) -> ErrorDetails {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "keyplane.dev"));
    details
}

//! Shared by the tests of the revocation service: the whole service, in this process, on ports of its own.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::time::{Duration, SystemTime};

use keyplane_auth_revocation::{Config, SERVICE};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
pub use keyplane_testkit::{details, violated};
use prost_types::Timestamp;
use tonic::transport::Channel;

pub const PARENT: &str = "tenants/acme";
pub const ISSUER: &str = "https://idp.example";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Service {
    pub running: Running,
    pub client: RevocationServiceClient<Channel>,
}

/// Starts the service on the server that the tests of this binary share, and waits until it is ready.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::app(), &keyplane_testkit::valkey().url(), settings, |_| {}).await
}

/// Starts the service on the store at `url`, and waits until it is ready. `change` sets what no variable does.
pub async fn start(app: &str, url: &str, settings: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Service {
    let own = [
        // Tests share the cores with others: a lag there must not make these ask the store.
        ("KEYPLANE_REVOCATION_MAX_STALENESS", "5s"),
        ("KEYPLANE_REVOCATION_STORE_TIMEOUT", "5s"),
    ];
    let env = Env::from_map(keyplane_testkit::settings(app, url, &[&own[..], settings].concat()));
    let (server, mut config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    change(&mut config);
    let running = keyplane_auth_revocation::start(server, config).await.expect("the service starts");
    let client = RevocationServiceClient::new(keyplane_testkit::channel(running.grpc_addr()));
    let service = Service { running, client };
    service.wait_ready().await;
    service
}

// === impl Service ===

impl Service {
    pub async fn wait_ready(&self) {
        keyplane_testkit::ready(self.running.admin_addr()).await;
    }

    pub async fn revoke_token(&self, jti: &str) -> pb::Revocation {
        self.client.clone().revoke_token(token(jti)).await.expect("it is revoked").into_inner()
    }

    pub async fn check(&self, claims: pb::Claims) -> pb::CheckResponse {
        let request = pb::CheckRequest { parent: PARENT.into(), claims: Some(claims), ..pb::CheckRequest::default() };
        self.client.clone().check(request).await.expect("it can be told").into_inner()
    }

    /// Rule by which the token is rejected; RULE_UNSPECIFIED if it is good.
    pub async fn rule(&self, claims: pb::Claims) -> pb::Rule {
        self.check(claims).await.rule()
    }
}

/// Request that revokes the token `jti` of [`claims`].
pub fn token(jti: &str) -> pb::RevokeTokenRequest {
    pb::RevokeTokenRequest {
        parent: PARENT.into(),
        issuer: ISSUER.into(),
        jti: jti.into(),
        expire_time: claims(jti).expire_time,
        ..pb::RevokeTokenRequest::default()
    }
}

/// Claims of a token that was issued a minute ago, for ten minutes.
pub fn claims(jti: &str) -> pb::Claims {
    pb::Claims {
        issuer: ISSUER.into(),
        jti: jti.into(),
        sid: "s-1".into(),
        subject: "u-42".into(),
        client: "portal".into(),
        kid: "k-1".into(),
        issue_time: Some(seconds_from_now(-60)),
        auth_time: Some(seconds_from_now(-60)),
        expire_time: Some(seconds_from_now(600)),
    }
}

pub fn seconds_from_now(seconds: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    Timestamp { seconds: i64::try_from(now.as_secs()).expect("a clock of this age") + seconds, nanos: 0 }
}

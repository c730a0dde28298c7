//! Whole service in this process, on free ports, for tests over gRPC.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::path::PathBuf;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient as EnvoyClient;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use keyplane_rate_limiting::{Config, SERVICE};
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
pub use keyplane_testkit::details;
use tonic::Status;
use tonic::transport::Channel;

pub const PARENT: &str = "tenants/acme";
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Policies of the tests, per hour, so that nothing leaks away while a test runs.
pub const POLICIES: &str = "
policies:
  - {id: user-api, domain: keyplane, entries: [tenant, user], limit: {amount: 10, per: 1h}, plans: {gold: {amount: 100, per: 1h}}}
  - {id: tenant-api, domain: keyplane, entries: [tenant], limit: {amount: 1000, per: 1h}, tenants: {evil: block, friend: unlimited}}
  - {id: chat, domain: keyplane, entries: [tenant, {key: route, value: /chat}], limit: {amount: 5, per: 1h}}
  - {id: any-route, domain: keyplane, entries: [tenant, route], limit: {amount: 50, per: 1h}}
  - {id: trial, domain: keyplane, entries: [tenant, api_key], limit: {amount: 1, per: 1h, mode: shadow}}
  - {id: tokens, domain: keyplane, entries: [tenant, {key: counted, value: tokens}], limit: {amount: 10, per: 1h}, post_charge: true}
  - {id: per-ip, domain: keyplane, entries: [remote_address], limit: {amount: 3, per: 5m}}
tenants: {rich: gold}
";

pub struct Service {
    pub running: Running,
    pub client: RateLimitServiceClient<Channel>,
    pub envoy: EnvoyClient<Channel>,
    _folder: tempfile::TempDir,
}

/// Service on the server that the tests of this binary share, ready.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::app(), &keyplane_testkit::valkey().url(), settings).await
}

/// Service on the store at `url`, ready.
pub async fn start(app: &str, url: &str, settings: &[(&str, &str)]) -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    let policies: PathBuf = folder.path().join("policies.yaml");
    std::fs::write(&policies, POLICIES).expect("a file");
    let policies = policies.display().to_string();
    let own = [
        ("KEYPLANE_RATELIMIT_POLICIES", policies.as_str()),
        // Tests share the cores with others: what is a lag there must not make these fail.
        ("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "5s"),
    ];
    let env = Env::from_map(keyplane_testkit::settings(app, url, &[&own[..], settings].concat()));
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_rate_limiting::start(server, config).await.expect("the service starts");
    let channel = keyplane_testkit::channel(running.grpc_addr());
    let (client, envoy) = (RateLimitServiceClient::new(channel.clone()), EnvoyClient::new(channel));
    let service = Service { running, client, envoy, _folder: folder };
    service.wait_ready().await;
    service
}

// === impl Service ===

impl Service {
    pub async fn wait_ready(&self) {
        keyplane_testkit::ready(self.running.admin_addr()).await;
    }

    /// Waits until the service denies a user from its cache, which starts once doorbells are heard.
    pub async fn denies_from_cache(&self, user: &str) {
        keyplane_testkit::eventually("a denial is remembered", PATIENCE, async || {
            let denied = self.acquire(call(user, &["user-api"])).await.map_err(|status| status.to_string())?;
            if denied.source() == pb::Source::Cache { Ok(()) } else { Err(format!("{denied:?}")) }
        })
        .await;
    }

    pub async fn acquire(&self, request: pb::AcquireRequest) -> Result<pb::AcquireResponse, Status> {
        self.client.clone().acquire(request).await.map(tonic::Response::into_inner)
    }
}

/// Call of a user of the tenant `acme`.
pub fn call(user: &str, limits: &[&str]) -> pb::AcquireRequest {
    let limits = limits.iter().map(|id| (*id).to_owned()).collect();
    pb::AcquireRequest { parent: PARENT.into(), user: user.into(), limits, ..pb::AcquireRequest::default() }
}

//! Rate limit descriptors that the shipped configuration does not send, through a real Envoy: hits charged at the end
//! of a stream, and more descriptors than allowed.

mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use keyplane_engine::Envoy;
use keyplane_gateway::InProcessGuard;
use keyplane_local::{Grant, Mesh};
use keyplane_testkit::eventually;
use reqwest::Response;
use serde_json::Value;
use support::{grpc, http, reason};
use tonic::Code;
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(30);
const LIST: &str = "/keyplane.session.v1.SessionService/ListSessions";
const POLICIES: &str = "
policies:
  - id: tokens-afterwards
    domain: keyplane
    entries: [{key: counted, value: tokens}, tenant]
    limit: {amount: 100, per: 1h}
    post_charge: true
";

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    let start = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("descriptors");
        let mesh = Mesh::start(support::with_policies(support::options(folder), POLICIES));
        tokio::runtime::Runtime::new().unwrap().block_on(mesh).unwrap()
    };
    MESH.get_or_init(|| std::thread::spawn(start).join().unwrap())
}

/// Lists the sessions of a tenant's user, at the gateway under `url`.
async fn read(url: &str, tenant: &str) -> Response {
    let token = mesh().issuer().mint(&Grant::new(tenant, "ada")).unwrap();
    http(&token).get(format!("{url}/v1/tenants/{tenant}/users/ada/sessions")).send().await.unwrap()
}

/// Starts another gateway in front of the mesh, with additional `rate_limits` of the virtual host.
fn gateway_with(name: &str, more: &str) -> ((Envoy, InProcessGuard), String) {
    let last =
        "                                metadata_key: {key: envoy.filters.http.ext_authz, path: [{key: subject}]}\n";
    let more: String = more.lines().map(|line| format!("{}{line}\n", " ".repeat(24))).collect();
    support::gate::before(mesh(), name, |config| {
        let found = config.matches(last).count();
        assert_eq!(found, 1, "gateway.yaml has changed: the test looks for the last of its rate_limits");
        config.replace(last, &format!("{last}{more}"))
    })
}

/// Example of docs/operations.md.
fn documented() -> &'static str {
    let document = include_str!("../../../docs/operations.md");
    let section = document.split_once("### Costs known afterwards").expect("the section").1;
    section.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n")).expect("an example in YAML")
}

#[tokio::test]
async fn charge_at_the_end_of_a_stream_limits_the_next_request() {
    let (_envoy, url) = gateway_with("descriptors-afterwards", documented());
    eventually("the gateway is ready", PATIENCE, async || read(&url, "demo").await.status() == 200).await;
    let mut passed = 0;
    // The charge follows the answer.
    let rejected = eventually("the charge is in force", PATIENCE, async || {
        let response = read(&url, "roomy").await;
        passed += u32::from(response.status() == 200);
        if response.status() == 429 { Ok(response) } else { Err(response) }
    })
    .await;
    assert!(passed > 1, "100 bytes are several answers");
    let wait: u64 = rejected.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let error: Value = rejected.json().await.unwrap();
    assert_eq!(error["details"][0]["metadata"]["policy"], "tokens-afterwards", "{error}");
    assert_eq!(read(&url, "roomy").await.status(), 429, "the debt remains");
    let shipped = mesh().endpoints().gateway.as_ref().unwrap();
    assert_eq!(read(shipped, "roomy").await.status(), 200, "the shipped gateway does not use the policy");
}

#[tokio::test]
async fn too_many_descriptors_are_reported() {
    let shipped = include_str!("../../envoy/gateway.yaml").matches("- actions:").count();
    assert!(shipped <= 16, "{shipped} are too many for one request: see gateway.yaml, rate_limits");
    let (_envoy, url) = gateway_with("descriptors-too-many", &"- actions: [*tenant]\n".repeat(15));
    // 503 until Envoy reaches the services.
    let error: Value = eventually("the gateway is ready", PATIENCE, async || {
        let response = read(&url, "roomy").await;
        if response.status() == 500 { Ok(response.json().await.unwrap()) } else { Err(response) }
    })
    .await;
    assert_eq!(reason(&error), (13, "TOO_MANY_DESCRIPTORS"), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("at most 16 descriptors") && message.contains("made 17"), "{error}");
    let token = support::token(mesh().issuer(), "ada");
    let status = grpc(&Endpoint::from_shared(url).unwrap().connect_lazy(), LIST, Some(&token)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("at most 16 descriptors"), "{status:?}");
}

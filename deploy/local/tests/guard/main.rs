//! JSON guard, through a real Envoy with the shipped configuration: strict JSON, and paths that nothing overrides.

mod bound;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use keyplane_contracts::http::{Binding, bindings};
use keyplane_engine::Signal;
use keyplane_local::Mesh;
use keyplane_testkit::eventually;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use support::gate::{Gate, SESSIONS};
use support::table::path;
use support::{http, reason, token};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(start("guard"));
        std::thread::spawn(start).join().unwrap()
    })
}

async fn start(folder: &str) -> Mesh {
    Mesh::start(support::options(Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder))).await.unwrap()
}

/// Caller of the tenant `acme`.
struct Caller {
    url: String,
    client: Client,
}

// === impl Caller ===

impl Caller {
    fn of(mesh: &Mesh) -> Caller {
        let url = mesh.endpoints().gateway.clone().unwrap();
        Caller { url, client: http(&token(mesh.issuer(), "u-42")) }
    }

    /// Sends the body unchanged.
    async fn call(&self, method: Method, path: &str, body: Option<&str>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status}: not JSON: {text}")))
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn sessions(&self, user: &str) -> usize {
        let path = format!("/v1/tenants/acme/users/{user}/sessions");
        let (status, list) = self.call(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{list}");
        list["sessions"].as_array().unwrap().len()
    }
}

/// Violations of an error, as `field: description`.
fn violations(error: &Value) -> Vec<String> {
    assert_eq!(reason(error), (3, "INVALID_REQUEST"), "{error}");
    let details = error["details"].as_array().unwrap();
    let bad = details.iter().find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.BadRequest");
    let listed = bad.unwrap_or_else(|| panic!("no BadRequest: {error}"))["fieldViolations"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed.iter().map(|listed| format!("{}: {}", text(&listed["field"]), text(&listed["description"]))).collect()
}

// === JSON ===

/// Covers loose JSON; `deploy/gateway/tests/strict.rs` tests the messages.
#[tokio::test]
async fn loose_json_is_rejected_and_nothing_is_done() {
    let caller = Caller::of(mesh());
    let sessions = "/v1/tenants/acme/users/strict/sessions";
    for body in [
        r#"{"companyid":"c-7"}"#,
        r#"{"companyId":"c-7","company_id":"c-8"}"#,
        r#"{"lastPath":"/a","lastPath":"/b"}"#,
        "{'companyId':'c-7'}",
        r#"{companyId:"c-7"}"#,
        r#"{"companyId":"c-7",}"#,
        r#"{"companyId":"c-7"} {}"#,
        r#"{"companyId":"c-7""#,
        r#"{"companyId":{}}"#,
        r#"{"tokens":{}}"#,
        r#"{"idleTimeout":"1m"}"#,
        "null",
        "[]",
        "7",
    ] {
        let (status, error) = caller.post(sessions, body).await;
        assert_eq!((status, violations(&error).len()), (400, 1), "{body}: {error}");
    }
    assert_eq!(caller.sessions("strict").await, 0);
    let charge = "/v1/tenants/acme/rateLimits:acquire";
    let (status, error) = caller.post(charge, r#"{"limits":["llm-tokens"],"costs":50000,"user":7}"#).await;
    let expected = ["costs: unknown field; did you mean cost?", "user: must be a string; got a number"];
    assert_eq!((status, violations(&error)), (400, expected.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn proto_json_passes() {
    let caller = Caller::of(mesh());
    let body = r#"{"company_id":"c-7","device":null,"lastPath":"\u002fa","attributes":{"x":"","e":"ü"},"version":"0"}"#;
    let (status, session) = caller.post("/v1/tenants/acme/users/lenient/sessions", body).await;
    assert_eq!((status, &session["companyId"], &session["lastPath"]), (200, &json!("c-7"), &json!("/a")), "{session}");
    assert_eq!(session["attributes"], json!({"x": "", "e": "ü"}));
    for cost in ["7", "\"7\"", "7.0", "null"] {
        let body = format!(r#"{{"user":"lenient","limits":["llm-tokens"],"cost":{cost}}}"#);
        let (status, answer) = caller.post("/v1/tenants/acme/rateLimits:peek", &body).await;
        assert_eq!((status, &answer["wouldAdmit"]), (200, &json!(true)), "{cost}: {answer}");
    }
}

/// Covers content types, encodings and chunks.
#[tokio::test]
async fn no_header_turns_the_guard_off() {
    let caller = Caller::of(mesh());
    let url = format!("{}/v1/tenants/acme/users/off/sessions", caller.url);
    let headers = [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/grpc-web"),
        ("content-type", "application/grpcfoo"),
        ("content-encoding", "gzip"),
        ("expect", "100-continue"),
        ("x-envoy-original-path", "/keyplane.session.v1.SessionService/GetSession"),
        ("x-http-method-override", "GET"),
    ];
    for (name, value) in headers {
        let parts = futures::stream::iter([r#"{"companyId":"c-7","#, r#""x":1}"#].map(Ok::<_, std::io::Error>));
        let whole = caller.client.post(&url).header(name, value).body(r#"{"companyId":"c-7","x":1}"#);
        let chunked = caller.client.post(&url).header(name, value).body(reqwest::Body::wrap_stream(parts));
        for request in [whole, chunked] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 400, "{name}: {value}");
            let error = response.json().await.unwrap();
            assert!(violations(&error)[0].starts_with("session.x: unknown field"), "{name}: {value}: {error}");
        }
    }
    assert_eq!(caller.sessions("off").await, 0);
}

/// Requests without a body skip the guard.
#[tokio::test]
async fn missing_body_is_rejected_by_the_service() {
    let caller = Caller::of(mesh());
    let mut rejected = 0;
    for binding in bindings().into_iter().filter(|binding| binding.needs_token() && !binding.body.is_empty()) {
        let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let path = path(&binding).replace("/acme", "/void");
        let (status, answer) = caller.call(verb, &path, None).await;
        assert!(status < 500, "{path}: {answer}");
        if status == 400 {
            assert!(!violations(&answer).is_empty(), "{path}");
            rejected += 1;
        }
    }
    assert!(rejected > 10, "{rejected}");
}

// === faults ===

#[tokio::test]
async fn outage_of_the_guard_is_503_and_the_guard_is_restarted() {
    let mesh = start("guard-outage").await;
    let caller = Caller::of(&mesh);
    let gateway = mesh.gateway().unwrap();
    let create = async || caller.post("/v1/tenants/acme/users/outage/sessions", r#"{"companyId":"c-7"}"#).await;
    let assert_unavailable = async |cause: &str| {
        let begin = Instant::now();
        let (status, error) = create().await;
        assert_eq!((status, reason(&error)), (503, (14, "GUARD_UNAVAILABLE")), "{cause}: {error}");
        assert!(error["message"].as_str().unwrap().contains("nothing was done"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{cause}: {:?}", begin.elapsed());
    };

    let guard = gateway.guard();
    guard.signal(Signal::STOP).unwrap();
    assert_unavailable("stopped").await;
    assert_eq!(caller.sessions("outage").await, 0, "reads need no guard");
    guard.signal(Signal::CONT).unwrap();
    let created = async || {
        let (status, answer) = create().await;
        if status == 200 { Ok(()) } else { Err(answer) }
    };
    eventually("the guard resumes", PATIENCE, created).await;

    guard.kill().unwrap();
    eventually("another guard runs", PATIENCE, async || {
        let other = gateway.guard();
        if other.pid() != guard.pid() { Ok(()) } else { Err(other.pid()) }
    })
    .await;
    eventually("the other guard answers", PATIENCE, created).await;
    assert_eq!(caller.sessions("outage").await, 2);
    mesh.stop().await.unwrap();
}

#[tokio::test]
async fn absent_guard_is_503() {
    let mut gate = Gate::start("guard-absent");
    gate.guard = keyplane_gateway::InProcessGuard::start().unwrap();
    let request = http(&gate.token()).post(format!("{}{SESSIONS}", gate.url)).body("{}");
    let response = request.send().await.unwrap();
    let (status, error) = (response.status(), response.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), reason(&error)), (503, (14, "GUARD_UNAVAILABLE")), "{error}");
    assert!(!gate.passed());
}

//! Strict JSON, and the path's word, at the front door: a real Envoy with the shipped configuration and the guard.

mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use keyplane_contracts::http::bindings;
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

/// One mesh for this binary; it dies with it.
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

/// A caller of the tenant `acme`.
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

    /// The body goes out as it is.
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

/// `field: description` of each violation.
fn violations(error: &Value) -> Vec<String> {
    assert_eq!(reason(error), (3, "INVALID_REQUEST"), "{error}");
    let details = error["details"].as_array().unwrap();
    let bad = details.iter().find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.BadRequest");
    let listed = bad.unwrap_or_else(|| panic!("no BadRequest: {error}"))["fieldViolations"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed.iter().map(|listed| format!("{}: {}", text(&listed["field"]), text(&listed["description"]))).collect()
}

// === JSON ===

/// Loose JSON; its wordings are tested in `deploy/gateway/tests/strict.rs`.
#[tokio::test]
async fn what_is_not_strict_json_is_refused_and_nothing_is_done() {
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
async fn what_protobufs_json_allows_still_passes() {
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

/// However the body is sent, and whatever it is called.
#[tokio::test]
async fn nothing_that_a_caller_sends_turns_the_guard_off() {
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

/// No body reaches no guard.
#[tokio::test]
async fn a_body_that_is_missing_is_told_by_the_service() {
    let caller = Caller::of(mesh());
    let mut told = 0;
    for binding in bindings().into_iter().filter(|binding| binding.needs_token() && !binding.body.is_empty()) {
        let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let path = path(&binding).replace("/acme", "/void");
        let (status, answer) = caller.call(verb, &path, None).await;
        assert!(status < 500, "{path}: {answer}");
        if status == 400 {
            assert!(!violations(&answer).is_empty(), "{path}");
            told += 1;
        }
    }
    assert!(told > 10, "{told}");
}

// === the path ===

/// Sends each bound field of each route in the query, in each spelling.
#[tokio::test]
async fn a_query_never_overrides_the_path_on_any_route() {
    let caller = Caller::of(mesh());
    for binding in bindings().into_iter().filter(|binding| binding.needs_token()) {
        for field in &binding.bound {
            let camel = field.replace("tenant_plan", "tenantPlan");
            let encoded = field.replacen('n', "%6e", 1);
            for name in [field, &camel, &encoded] {
                let path = format!("{}?{name}=tenants/other/users/x", path(&binding));
                let body = (!binding.body.is_empty()).then_some("{}");
                let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
                let (status, error) = caller.call(verb, &path, body).await;
                let rule = "comes from the path of the URL and may stand nowhere else; leave it out of the query";
                assert_eq!((status, violations(&error)), (400, vec![format!("{camel}: {rule}")]), "{path}");
            }
        }
    }
}

/// A body on a GET as well: the transcoder would read it.
#[tokio::test]
async fn a_body_never_overrides_the_path_on_any_route() {
    let caller = Caller::of(mesh());
    for binding in bindings().into_iter().filter(|binding| binding.needs_token()) {
        let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let inside = format!("{}.", binding.body);
        let (field, body) = match binding.body.as_str() {
            "" => ("body".to_owned(), json!({"parent": "tenants/other", "name": "tenants/other"})),
            "*" => match binding.bound.first() {
                Some(field) => (field.clone(), json!({field: "tenants/other"})),
                None => continue,
            },
            _ => match binding.bound.iter().find_map(|field| field.strip_prefix(&inside)) {
                Some(field) => (format!("{}.{field}", binding.body), json!({field: "tenants/other"})),
                None => continue,
            },
        };
        let (status, error) = caller.call(verb, &path(&binding), Some(&body.to_string())).await;
        let violations = violations(&error);
        let field = field.replace("tenant_plan", "tenantPlan");
        assert_eq!((status, violations.len()), (400, 1), "{} {error}", binding.path);
        assert!(violations[0].starts_with(&format!("{field}: ")), "{}: {violations:?}", binding.path);
    }
}

/// With stand-ins for the services, to see what they are sent.
#[tokio::test]
async fn the_transcoders_word_is_nobody_elses() {
    let gate = Gate::start("guard-forged");
    let client = http(&gate.token());
    eventually("the gateway leads to the services", PATIENCE, async || {
        let sent =
            client.get(format!("{}{SESSIONS}", gate.url)).header("x-envoy-original-path", "/v1/forged").send().await;
        let paths: Vec<String> = gate
            .peer
            .take_others()
            .iter()
            .map(|(_, headers)| {
                assert_eq!(headers.get_all("x-envoy-original-path").iter().count(), 1);
                headers["x-envoy-original-path"].to_str().unwrap().to_owned()
            })
            .collect();
        if paths == [SESSIONS] { Ok(()) } else { Err(format!("{paths:?} {sent:?}")) }
    })
    .await;
    let mut call = tonic::client::Grpc::new(gate.channel());
    call.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("authorization", support::bearer(&gate.token()).parse().unwrap());
    request.metadata_mut().insert("x-envoy-original-path", "/v1/tenants/acme".parse().unwrap());
    let list = "/keyplane.session.v1.SessionService/ListSessions".parse().unwrap();
    let status =
        call.unary(request, list, tonic_prost::ProstCodec::<(), ()>::default()).await.map(|_: tonic::Response<()>| ());
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented, "the stand-in has no such service");
    let seen = gate.peer.take_others();
    assert!(
        seen.iter().all(|(_, headers)| !headers.contains_key("x-envoy-original-path")) && !seen.is_empty(),
        "{seen:?}"
    );
}

#[tokio::test]
async fn grpc_on_a_json_route_is_told_so() {
    let gate = Gate::start("guard-grpc");
    let status = support::grpc(&gate.channel(), SESSIONS, Some(&gate.token())).await;
    assert!(status.is_err(), "a GET route");
    let request =
        http(&gate.token()).post(format!("{}{SESSIONS}", gate.url)).header("content-type", "application/grpc");
    let response = request.body("{}").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
    assert!(!gate.passed());
}

/// A caller without a token can't keep the guard busy, and what has no body has no need of it.
#[tokio::test]
async fn the_guard_is_asked_about_bodies_of_known_callers_alone() {
    let gate = Gate::start("guard-asked");
    let asked = || {
        let stats = gate.envoy.admin_get("/stats?filter=^cluster.guard.upstream_rq_total$").unwrap();
        stats.trim().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let url = format!("{}{SESSIONS}", gate.url);
    let client = http(&gate.token());
    let post = |client: &Client| client.post(&url).body(r#"{"x":1}"#).send();
    eventually("the guard answers", PATIENCE, async || {
        let status = post(&client).await.unwrap().status();
        if status == 400 { Ok(()) } else { Err(status) }
    })
    .await;
    let before = asked();
    assert_eq!(post(&Client::new()).await.unwrap().status(), 401);
    client.get(&url).send().await.unwrap();
    client.post(format!("{url}/0123456789abcdef0123456789abcdef:touch")).send().await.unwrap();
    assert_eq!(asked(), before);
    assert_eq!(post(&client).await.unwrap().status(), 400);
    assert_eq!(asked(), before + 1);
}

// === faults ===

#[tokio::test]
async fn without_a_guard_nothing_is_done_and_it_comes_back() {
    let mesh = start("guard-outage").await;
    let caller = Caller::of(&mesh);
    let gateway = mesh.gateway().unwrap();
    let create = async || caller.post("/v1/tenants/acme/users/outage/sessions", r#"{"companyId":"c-7"}"#).await;
    let refused = async |why: &str| {
        let begin = Instant::now();
        let (status, error) = create().await;
        assert_eq!((status, reason(&error)), (503, (14, "GUARD_UNAVAILABLE")), "{why}: {error}");
        assert!(error["message"].as_str().unwrap().contains("nothing was done"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{why}: {:?}", begin.elapsed());
    };

    let guard = gateway.guard();
    guard.signal(Signal::STOP).unwrap();
    refused("stopped").await;
    assert_eq!(caller.sessions("outage").await, 0, "reads need no guard");
    guard.signal(Signal::CONT).unwrap();
    let created = async || {
        let (status, answer) = create().await;
        if status == 200 { Ok(()) } else { Err(answer) }
    };
    eventually("the guard goes on", PATIENCE, created).await;

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
async fn an_absent_guard_is_503() {
    let mut gate = Gate::start("guard-absent");
    gate.guard = keyplane_gateway::Here::start().unwrap();
    let request = http(&gate.token()).post(format!("{}{SESSIONS}", gate.url)).body("{}");
    let response = request.send().await.unwrap();
    let (status, error) = (response.status(), response.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), reason(&error)), (503, (14, "GUARD_UNAVAILABLE")), "{error}");
    assert!(!gate.passed());
}

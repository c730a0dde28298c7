//! Updates, field names, errors, and event streams across rotations, seen by JSON callers through a real Envoy with the
//! shipped configuration.

mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use keyplane_contracts::reasons::code_name;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_local::Mesh;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(20);

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("updates");
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(Mesh::start(support::options(folder))).unwrap();
        std::thread::spawn(start).join().unwrap()
    })
}

fn request(method: Method, path: &str) -> RequestBuilder {
    let url = mesh().endpoints().gateway.as_deref().unwrap();
    support::http(&mesh().endpoints().token).request(method, format!("{url}{path}"))
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: not JSON: {text}")))
}

async fn post(path: &str, body: Value) -> (u16, Value) {
    sent(request(Method::POST, path).json(&body)).await
}

async fn patch(path: &str, body: Value) -> (u16, Value) {
    sent(request(Method::PATCH, path).json(&body)).await
}

/// Sends a PATCH, and expects success.
async fn patched(path: &str, body: Value) -> Value {
    let (status, answer) = patch(path, body.clone()).await;
    assert_eq!(status, 200, "{body}: {answer}");
    answer
}

/// Creates a session of `user`; returns its path.
async fn created(user: &str) -> String {
    let body = json!({"companyId": "c-7", "lastPath": "/home", "idleTimeout": "60s"});
    let (status, session) = post(&format!("/v1/tenants/acme/users/{user}/sessions"), body).await;
    assert_eq!(status, 200, "{session}");
    format!("/v1/{}", session["name"].as_str().unwrap())
}

/// Violations of an error, as `field: description`.
fn violations(error: &Value) -> Vec<String> {
    let details = error["details"].as_array().unwrap();
    let listed = details.iter().find_map(|detail| detail["fieldViolations"].as_array());
    let listed = listed.unwrap_or_else(|| panic!("no violations: {error}"));
    listed.iter().map(|v| format!("{}: {}", v["field"].as_str().unwrap(), v["description"].as_str().unwrap())).collect()
}

// === changes ===

#[tokio::test]
async fn policy_fields_absent_from_a_patch_stay() {
    let hour =
        |amount: u32| json!({"mode": "MODE_ENFORCE", "amount": amount.to_string(), "period": "3600s", "burst": "0"});
    let policy = json!({
        "domain": "edge", "entries": [{"key": "tenant"}], "limit": hour(10), "outage": "OUTAGE_OPEN",
        "postCharge": true, "planLimits": {"gold": hour(100)}, "tenantLimits": {"globex": hour(20)},
    });
    let (status, made) = post("/v1/policies?policyId=kept", policy).await;
    assert_eq!(status, 200, "{made}");
    let path = "/v1/policies/kept";
    // Each PATCH changes the fields it sends, and no others.
    let mut expected = made;
    for (query, body) in [
        ("", json!({})),
        ("", json!({"limit": hour(11)})),
        ("", json!({"tenantLimits": {"acme": hour(5)}})),
        ("", json!({"outage": "OUTAGE_UNSPECIFIED"})),
        ("", json!({"postCharge": false})),
        ("", json!({"lease": "3"})),
        ("", json!({"lease": "0"})),
        ("", json!({"domain": ""})),
        (
            "?updateMask=tenantLimits,domain",
            json!({"tenantLimits": {"acme": hour(6)}, "domain": "edge", "outage": "OUTAGE_OPEN"}),
        ),
        ("?updateMask=planLimits", json!({})),
    ] {
        let changed = patched(&format!("{path}{query}"), body.clone()).await;
        for (name, value) in body.as_object().unwrap() {
            match (name.as_str(), query) {
                ("outage", "?updateMask=tenantLimits,domain") => {}
                ("tenantLimits", "") => expected[name]["acme"] = value["acme"].clone(),
                _ => expected[name] = value.clone(),
            }
        }
        if query.ends_with("planLimits") {
            expected["planLimits"] = json!({});
        }
        for volatile in ["etag", "updateTime"] {
            expected[volatile] = changed[volatile].clone();
        }
        assert_eq!(changed, expected, "{query} {body}");
    }
    let stale = sent(request(Method::PATCH, path).header("if-match", "\"1\"").json(&json!({"lease": "1"}))).await;
    assert_eq!((stale.0, support::reason(&stale.1)), (409, (10, "STALE_WRITE")), "{stale:?}");
    let tag = format!("\"{}\"", expected["etag"].as_str().unwrap());
    let current = sent(request(Method::PATCH, path).header("if-match", tag).json(&json!({"lease": "1"}))).await;
    assert_eq!((current.0, &current.1["lease"]), (200, &json!("1")), "{current:?}");
}

#[tokio::test]
async fn empty_patch_keeps_the_tenants_plan() {
    let path = "/v1/tenants/planned/plan";
    assert_eq!(patched(path, json!({"plan": "gold"})).await["plan"], "gold");
    assert_eq!(patched(path, json!({})).await["plan"], "gold");
    assert_eq!(patched(path, json!({"plan": ""})).await["plan"], "");
    assert_eq!(patched(path, json!({"plan": "gold"})).await["plan"], "gold");
    assert_eq!(patched(&format!("{path}?updateMask=plan"), json!({})).await["plan"], "");
    let (status, error) = sent(request(Method::PATCH, path).header("if-match", "\"1\"").json(&json!({}))).await;
    assert_eq!(
        (status, violations(&error)[0].as_str()),
        (400, "if-match: not supported: this method takes no version or etag")
    );
}

#[tokio::test]
async fn patched_fields_are_honoured_or_rejected() {
    let path = created("patched").await;
    let session = patched(&path, json!({"lastPath": ""})).await;
    assert_eq!(
        (&session["lastPath"], &session["companyId"], &session["version"]),
        (&json!(""), &json!("c-7"), &json!(2))
    );
    let id = session["sessionId"].as_str().unwrap();
    assert!(path.ends_with(&format!("/sessions/{id}")), "{session}");

    // A session sent back as read carries its version.
    let mut whole = session.clone();
    whole["lastPath"] = json!("/x");
    assert_eq!(patched(&path, whole.clone()).await["version"], 3);
    let (status, error) = patch(&path, whole).await;
    assert_eq!((status, support::reason(&error)), (409, (10, "STALE_WRITE")), "{error}");
    let (status, error) = sent(request(Method::PATCH, &path).header("if-match", "\"2\"").json(&json!({}))).await;
    assert_eq!((status, support::reason(&error)), (409, (10, "STALE_WRITE")), "{error}");
    let (status, _) = sent(request(Method::PATCH, &path).header("if-match", "\"3\"").json(&json!({}))).await;
    assert_eq!(status, 200);

    let (status, error) = patch(&path, json!({"idleTimeout": "1800s", "lastPath": "/y"})).await;
    let rule = "session.idleTimeout: is immutable; this session's is 60s";
    assert_eq!((status, violations(&error)), (400, vec![rule.to_owned()]), "{error}");
}

// === names ===

/// Sends the same request as JSON and as gRPC.
#[tokio::test]
async fn violations_name_fields_in_the_callers_spelling() {
    let path = "/v1/tenants/acme/users/named/sessions?requestId=a%20b";
    let (status, error) = post(path, json!({"lastPath": "x", "tokens": [{"jti": "j", "issuer": "i"}]})).await;
    let rules = [
        "requestId: the id must match [A-Za-z0-9._~@|:+-]{1,128}; 3 bytes were sent",
        "session.tokens[0].expireTime: must be set",
        "session.lastPath: must start with `/`; 1 bytes were sent",
    ];
    assert_eq!((status, violations(&error)), (400, rules.map(str::to_owned).into()), "{error}");
    assert_eq!(error["message"], format!("the request is invalid: {}", rules.join("; ")));
    let (_, error) = patch("/v1/policies/user-api?updateMask=postCharge,origin", json!({"postCharge": true})).await;
    let known = "`domain`, `limit`, `planLimits`, `tenantLimits`, `outage`, `postCharge`, `lease`";
    assert_eq!(
        violations(&error),
        [format!("updateMask: its path number 2 (6 bytes) is unknown; it may name {known}")]
    );

    let channel = Endpoint::from_static(mesh().endpoints().gateway.as_deref().unwrap()).connect().await.unwrap();
    let session = pb::Session { last_path: Some("x".into()), ..pb::Session::default() };
    let parent = "tenants/acme/users/named".to_owned();
    let mut request =
        tonic::Request::new(pb::CreateSessionRequest { parent, session: Some(session), request_id: "a b".into() });
    request.metadata_mut().insert("authorization", support::bearer(&mesh().endpoints().token).parse().unwrap());
    let status = SessionServiceClient::new(channel).create_session(request).await.unwrap_err();
    let (id, path) = ("request_id: the id must match", "session.last_path: must start with `/`");
    assert!(status.message().contains(id) && status.message().contains(path), "{status:?}");
}

/// Stream of an EventSource, with the unread rest.
struct Events {
    chunks: BoxStream<'static, Vec<u8>>,
    text: String,
}

// === impl Events ===

impl Events {
    /// Opens the stream of a session, from the event `last`.
    async fn open(path: &str, last: Option<&str>) -> Result<Events, (u16, Value)> {
        let mut request = request(Method::GET, &format!("{path}:watch")).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            return Err((response.status().as_u16(), response.json().await.unwrap()));
        }
        let chunks = response.bytes_stream().map(|chunk| chunk.expect("the stream goes on").to_vec());
        Ok(Events { chunks: chunks.boxed(), text: String::new() })
    }

    /// Reads the next event, of type `kind`; returns its id and data.
    async fn next(&mut self, kind: &str) -> (String, Value) {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                let Some(found) = field("event: ") else { continue };
                assert_eq!(found, kind, "{block}");
                let id = field("id: ").unwrap().to_owned();
                return (id, serde_json::from_str(field("data: ").unwrap()).unwrap());
            }
            let next = tokio::time::timeout(PATIENCE, self.chunks.next()).await;
            let chunk = next.unwrap_or_else(|_| panic!("no {kind} in time")).expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn ended(mut self) {
        let next = tokio::time::timeout(PATIENCE, self.chunks.next()).await.expect("the end comes");
        assert!(next.is_none(), "{next:?}");
    }
}

#[tokio::test]
async fn changed_fields_are_a_valid_mask() {
    let path = created("changing").await;
    let mut events = Events::open(&path, None).await.unwrap();
    events.next("snapshot").await;
    let token = json!({"jti": "j", "issuer": "i", "expireTime": "2100-01-01T00:00:00Z"});
    let body = json!({
        "companyId": "", "lastPath": "/x", "attributes": {"lastSeen": "1"}, "device": {"userAgent": "a"},
        "tokens": [token],
    });
    patched(&path, body).await;
    let (_, event) = events.next("updated").await;
    let changed = json!(["companyId", "lastPath", "attributes", "device", "tokens"]);
    assert_eq!(event["changedFields"], changed, "{event}");
    assert_eq!(
        (&event["session"]["companyId"], &event["session"]["attributes"]),
        (&json!(""), &json!({"lastSeen": "1"}))
    );
    let mask = event["changedFields"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let mask = mask.collect::<Vec<_>>().join(",");
    let session = patched(&format!("{path}?updateMask={mask}"), event["session"].clone()).await;
    assert_eq!(session["version"], 2, "nothing changed");
}

#[tokio::test]
async fn event_source_survives_rotations() {
    let path = created("rotating").await;
    let mut events = Events::open(&path, None).await.unwrap();
    events.next("snapshot").await;
    let rotate = async |path: &str| {
        let (status, session) = post(&format!("{path}:rotate"), json!({})).await;
        assert_eq!(status, 200, "{session}");
        format!("/v1/{}", session["name"].as_str().unwrap())
    };
    let second = rotate(&path).await;
    let (rotated, _) = events.next("rotated").await;
    drop(events);

    // The page reconnects with its first path.
    let mut events = Events::open(&path, Some(&rotated)).await.expect("it leads to the new session");
    let third = rotate(&second).await;
    let (rotated, event) = events.next("rotated").await;
    assert_eq!(format!("/v1/{}", event["newName"].as_str().unwrap()), third);
    drop(events);
    patched(&third, json!({"lastPath": "/x"})).await;
    let mut events = Events::open(&path, Some(&rotated)).await.expect("over two rotations");
    assert_eq!(events.next("updated").await.1["session"]["lastPath"], "/x");
    drop(events);

    for path in [path.replace("/rotating/", "/other/"), path.replace("/acme/", "/other/")] {
        assert_eq!(Events::open(&path, Some(&rotated)).await.map(drop).unwrap_err().0, 404, "{path}");
    }
    assert_eq!(
        Events::open(&path, None).await.map(drop).unwrap_err().0,
        404,
        "for who never saw it the old name is dead"
    );
    assert_eq!(sent(request(Method::DELETE, &third)).await.0, 200);
    let mut events = Events::open(&path, Some(&rotated)).await.expect("it missed the end");
    events.next("updated").await;
    let (end, _) = events.next("deleted").await;
    events.ended().await;
    let (status, error) = Events::open(&path, Some(&end)).await.map(drop).unwrap_err();
    assert_eq!((status, support::reason(&error)), (404, (5, "SESSION_NOT_FOUND")), "{error}");
}

// === errors ===

/// Covers errors of the services and of the gateway.
#[tokio::test]
async fn every_error_names_its_code() {
    let path = created("failing").await;
    let bare =
        |path: &str| reqwest::Client::new().get(format!("{}{path}", mesh().endpoints().gateway.as_deref().unwrap()));
    let huge = json!({"lastPath": format!("/{}", "a".repeat(2 << 20))});
    let missing = format!("{}{}", &path[..path.len() - 32], "0".repeat(32));
    for (request, code, name) in [
        (request(Method::GET, &missing), 5, "NOT_FOUND"),
        (request(Method::PATCH, &path).json(&json!({"lastPath": "x"})), 3, "INVALID_ARGUMENT"),
        (request(Method::PATCH, &format!("{path}?version=7")).json(&json!({})), 10, "ABORTED"),
        (request(Method::POST, "/v1/policies?policyId=user-api").json(&json!({})), 3, "INVALID_ARGUMENT"),
        (request(Method::GET, "/v1/policies/none"), 5, "NOT_FOUND"),
        (request(Method::PATCH, "/v1/policies/user-api").json(&json!({"lease": "1"})), 9, "FAILED_PRECONDITION"),
        (request(Method::GET, "/v1/tenants/acme/revocations/none"), 3, "INVALID_ARGUMENT"),
        (bare(&path), 16, "UNAUTHENTICATED"),
        (request(Method::GET, "/v1/nothing"), 5, "NOT_FOUND"),
        (request(Method::POST, "/v1/tenants/acme/users/u/sessions").json(&json!([])), 3, "INVALID_ARGUMENT"),
        (request(Method::PATCH, &path).json(&huge), 8, "RESOURCE_EXHAUSTED"),
    ] {
        let text = format!("{request:?}");
        let (_, error) = sent(request).await;
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(name)), "{text}: {error}");
    }
}

#[tokio::test]
async fn errors_of_items_name_their_code_and_the_callers_fields() {
    let requests = json!([{"limits": ["none"]}, {"limits": ["llm-tokens"], "user": "u", "requestId": "a b"}]);
    let (status, answer) = post("/v1/tenants/acme/rateLimits:batchAcquire", json!({"requests": requests})).await;
    assert_eq!(status, 200, "{answer}");
    let [missing, invalid] = [&answer["results"][0]["error"], &answer["results"][1]["error"]];
    assert_eq!((&missing["code"], &missing["status"]), (&json!(5), &json!("NOT_FOUND")), "{answer}");
    assert_eq!((&invalid["code"], &invalid["status"]), (&json!(3), &json!("INVALID_ARGUMENT")), "{answer}");
    assert!(invalid["message"].as_str().unwrap().contains("requestId: the id must match"), "{answer}");
    let token = json!({"token": {"jti": "j", "issuer": "https://id.example", "expireTime": "9999-01-01T00:00:00Z"}});
    let (status, error) = post("/v1/tenants/acme:batchRevoke", json!({"requests": [token]})).await;
    assert_eq!(status, 400, "{error}");
    let broken = violations(&error);
    assert!(broken.len() == 1 && broken[0].starts_with("requests[0].token.expireTime: "), "{error}");
}

#[test]
fn every_local_reply_names_its_code() {
    let lines: Vec<_> = include_str!("../../envoy/gateway.yaml").lines().map(str::trim).collect();
    let codes = lines.iter().enumerate().filter_map(|(place, line)| Some((place, line.strip_prefix("code: ")?)));
    let mut seen = 0;
    for (place, code) in codes {
        let name = code_name(tonic::Code::from_i32(code.parse().expect("a number")));
        assert_eq!(lines[place + 1], format!("status: {name}"), "gateway.yaml, line {}", place + 2);
        seen += 1;
    }
    assert!(seen >= 20, "only {seen}");
}

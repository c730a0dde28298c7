//! JSON routes, through a real Envoy with the shipped configuration.

mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use futures::StreamExt;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_local::{Mesh, Options};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(Mesh::start(options("json"))).unwrap();
        std::thread::spawn(start).join().unwrap()
    })
}

fn url() -> &'static str {
    mesh().endpoints().gateway.as_deref().unwrap()
}

/// Client that sends the token printed by `cargo up`.
fn client(mesh: &Mesh) -> Client {
    support::http(&mesh.endpoints().token)
}

fn options(folder: &str) -> Options {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    support::options(folder)
}

async fn call(mesh: &Mesh, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = mesh.endpoints().gateway.as_deref().unwrap();
    let mut request = client(mesh).request(method, format!("{url}{path}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status}: not JSON: {text}"));
    (status, body)
}

async fn get(path: &str) -> (u16, Value) {
    call(mesh(), Method::GET, path, None).await
}

async fn post(path: &str, body: Value) -> (u16, Value) {
    call(mesh(), Method::POST, path, Some(body)).await
}

async fn patch(path: &str, body: Value) -> (u16, Value) {
    call(mesh(), Method::PATCH, path, Some(body)).await
}

/// Creates a session of `user`; returns its path.
async fn created(user: &str, body: Value) -> String {
    let (status, session) = post(&format!("/v1/tenants/acme/users/{user}/sessions"), body).await;
    assert_eq!(status, 200, "{session}");
    format!("/v1/{}", session["name"].as_str().unwrap())
}

/// Error detail of a type, e.g. `ErrorInfo`.
fn detail<'a>(error: &'a Value, kind: &str) -> &'a Value {
    let details = error["details"].as_array().unwrap();
    let kind = format!("type.googleapis.com/google.rpc.{kind}");
    details.iter().find(|detail| detail["@type"] == kind).unwrap_or_else(|| panic!("no {kind} in {error}"))
}

// === calls ===

#[tokio::test]
async fn create_get_and_list() {
    let path =
        created("reader", json!({"companyId": "c-7", "lastPath": "/tasks", "attributes": {"theme": "dark"}})).await;
    let (status, session) = get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(session["companyId"], "c-7");
    assert_eq!(session["attributes"], json!({"theme": "dark"}));
    assert_eq!(session["version"], 1);
    assert!(session["expireTime"].as_str().unwrap().ends_with('Z'), "{session}");

    let (status, list) = get("/v1/tenants/acme/users/reader/sessions?pageSize=5").await;
    assert_eq!(status, 200);
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["sessions"][0]["name"], session["name"]);
    assert_eq!(list["nextPageToken"], "");
}

/// Envoy's transcoder crashes on a map entry without a value, and prost omits empty values.
#[tokio::test]
async fn empty_attribute_is_kept() {
    let path = created("empty", json!({"companyId": "c-7", "attributes": {"x": "", "y": "1"}})).await;
    assert_eq!(get(&path).await.1["attributes"], json!({"x": "", "y": "1"}));
    let (status, changed) = patch(&path, json!({"attributes": {"y": ""}})).await;
    assert_eq!((status, &changed["attributes"]), (200, &json!({"x": "", "y": ""})), "{changed}");
    let (status, list) = get("/v1/tenants/acme/users/empty/sessions").await;
    assert_eq!((status, &list["sessions"][0]["attributes"]), (200, &changed["attributes"]), "{list}");
}

/// Oversized trailers would break the connection that all callers share.
#[tokio::test]
async fn many_violations_are_capped_and_keep_the_connection() {
    let attributes: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("a b{n}"), json!("x"))).collect();
    let path = created("others", json!({"companyId": "c-7"})).await;
    let hostile = async || {
        post("/v1/tenants/acme/users/hostile/sessions", json!({"companyId": "c-7", "attributes": attributes})).await
    };
    for (status, error) in futures::future::join_all((0..8).map(|_| hostile())).await {
        assert_eq!((status, support::reason(&error)), (400, (3, "INVALID_REQUEST")), "{error}");
        let listed = detail(&error, "BadRequest")["fieldViolations"].as_array().unwrap().len();
        assert_eq!(listed, 20, "{error}");
        assert!(error["message"].as_str().unwrap().ends_with(" more"), "{error}");
        assert_eq!(get(&path).await.0, 200, "others are served");
    }
}

#[tokio::test]
async fn create_is_idempotent_by_request_id() {
    let path = "/v1/tenants/acme/users/twice/sessions?requestId=login-1";
    let (_, first) = post(path, json!({"companyId": "c-7"})).await;
    let (status, second) = post(path, json!({"companyId": "c-7"})).await;
    assert_eq!((status, &second["name"]), (200, &first["name"]));
}

#[tokio::test]
async fn patch_with_a_mask_writes_the_named_fields() {
    let path = created("masked", json!({"companyId": "c-7", "lastPath": "/"})).await;
    let body = json!({"lastPath": "/tasks/42", "companyId": "not taken"});
    let (status, session) = patch(&format!("{path}?updateMask=lastPath"), body).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!((&session["lastPath"], &session["companyId"]), (&json!("/tasks/42"), &json!("c-7")));
    assert_eq!(session["version"], 2);
}

#[tokio::test]
async fn patch_without_a_mask_merges() {
    let path = created("merged", json!({"companyId": "c-7", "attributes": {"a": "1"}})).await;
    let (status, session) = patch(&path, json!({"attributes": {"b": "2"}})).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!(session["attributes"], json!({"a": "1", "b": "2"}));
    assert_eq!(session["companyId"], "c-7");

    let (status, session) = patch(&format!("{path}?removeAttributes=a"), json!({})).await;
    assert_eq!((status, &session["attributes"]), (200, &json!({"b": "2"})));
}

#[tokio::test]
async fn post_update_serves_clients_without_patch() {
    let path = created("poster", json!({})).await;
    let (status, session) = post(&format!("{path}:update?updateMask=lastPath"), json!({"lastPath": "/a"})).await;
    assert_eq!((status, &session["lastPath"]), (200, &json!("/a")));
}

#[tokio::test]
async fn touch_only_prolongs() {
    let path = created("toucher", json!({})).await;
    let (_, before) = get(&path).await;
    let (status, touched) = post(&format!("{path}:touch"), json!({})).await;
    assert_eq!((status, &touched["version"]), (200, &json!(1)), "{touched}");
    assert!(touched["expireTime"].as_str() >= before["expireTime"].as_str(), "{touched}");
    // The body is optional.
    let (status, _) = call(mesh(), Method::POST, &format!("{path}:touch"), None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn rotate_gives_a_new_name() {
    let path = created("rotated", json!({"companyId": "c-7"})).await;
    let (status, session) = post(&format!("{path}:rotate"), json!({"requestId": "r-1"})).await;
    assert_eq!((status, &session["companyId"]), (200, &json!("c-7")), "{session}");
    assert_ne!(format!("/v1/{}", session["name"].as_str().unwrap()), path);
    assert_eq!(get(&path).await.0, 404);
}

#[tokio::test]
async fn delete_ends_a_session() {
    let path = created("deleted", json!({})).await;
    assert_eq!(call(mesh(), Method::DELETE, &path, None).await, (200, json!({})));
    let (status, error) = call(mesh(), Method::DELETE, &path, None).await;
    assert_eq!((status, &detail(&error, "ErrorInfo")["reason"]), (404, &json!("SESSION_NOT_FOUND")));
    assert_eq!(call(mesh(), Method::DELETE, &format!("{path}?allowMissing=true"), None).await.0, 200);
}

#[tokio::test]
async fn revoke_all_spares_one() {
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(created("revoked", json!({})).await);
    }
    let body = json!({"keepSession": paths[1].trim_start_matches("/v1/")});
    let (status, answer) = post("/v1/tenants/acme/users/revoked/sessions:revokeAll", body).await;
    assert_eq!((status, &answer["revokedCount"]), (200, &json!(2)), "{answer}");
    assert_eq!(get(&paths[0]).await.0, 404);
    assert_eq!(get(&paths[1]).await.0, 200);
}

#[tokio::test]
async fn escaped_at_sign_is_the_same_user() {
    let path = created("bob%40x.com", json!({})).await;
    assert!(path.contains("/bob@x.com/"), "{path}");
    let (_, list) = get("/v1/tenants/acme/users/bob@x.com/sessions").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(get(&path.replace('@', "%40")).await.0, 200);
}

#[tokio::test]
async fn watch_streams_events() {
    let path = created("watched", json!({"lastPath": "/"})).await;
    let response = client(mesh()).get(format!("{}{path}:watch", url())).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    let mut until = async |part: &str| {
        while !text.contains(part) {
            let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
            let chunk = next.unwrap_or_else(|_| panic!("no {part} in:\n{text}")).expect("the stream goes on").unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    until("event: snapshot").await;
    assert_eq!(patch(&path, json!({"lastPath": "/tasks/42"})).await.0, 200);
    until("/tasks/42").await;
    assert_eq!(call(mesh(), Method::DELETE, &path, None).await.0, 200);
    until("event: deleted").await;
    assert!(text.contains("event: updated") && text.contains("id: "), "{text}");
}

// === errors ===

#[tokio::test]
async fn all_violated_fields_are_reported_at_once() {
    let body = json!({"lastPath": "no slash", "attributes": {"not a key": "x"}});
    let (status, error) = post("/v1/tenants/Acme/users/u/sessions", body).await;
    assert_eq!((status, &error["code"]), (400, &json!(3)), "{error}");
    let violations = detail(&error, "BadRequest")["fieldViolations"].as_array().unwrap();
    let fields: Vec<_> = violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect();
    for part in ["parent", "lastPath", "attributes"] {
        assert!(fields.iter().any(|field| field.contains(part)), "{part} is not among {fields:?}");
    }
    assert_eq!(detail(&error, "ErrorInfo")["domain"], "keyplane.dev");
}

#[tokio::test]
async fn ended_session_is_404() {
    let (status, error) = get("/v1/tenants/acme/users/u/sessions/0123456789abcdef0123456789abcdef").await;
    assert_eq!((status, &error["code"]), (404, &json!(5)));
    assert_eq!(detail(&error, "ErrorInfo")["reason"], "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn stale_version_is_409() {
    let path = created("versioned", json!({})).await;
    let (status, error) = patch(&format!("{path}?version=7"), json!({"lastPath": "/a"})).await;
    assert_eq!((status, &error["code"]), (409, &json!(10)), "{error}");
    let info = detail(&error, "ErrorInfo");
    assert_eq!((&info["reason"], &info["metadata"]["current"]), (&json!("STALE_WRITE"), &json!("1")));
}

#[tokio::test]
async fn malformed_json_is_400_in_the_error_shape() {
    let request = client(mesh()).post(format!("{}/v1/tenants/acme/users/u/sessions", url()));
    let response = request.header("content-type", "application/json").body("{\"lastPath\":").send().await.unwrap();
    assert_eq!(response.status(), 400);
    let error: Value = response.json().await.unwrap();
    assert_eq!((&error["code"], &detail(&error, "ErrorInfo")["reason"]), (&json!(3), &json!("INVALID_REQUEST")));
}

#[tokio::test]
async fn oversized_body_is_rejected() {
    let body = json!({"lastPath": format!("/{}", "a".repeat(3 << 20))});
    let (status, error) = post("/v1/tenants/acme/users/u/sessions", body).await;
    assert_eq!(status, 413, "{error}");
}

/// The gateway must not buffer the message while it checks the token.
#[tokio::test]
async fn oversized_grpc_message_is_rejected() {
    let channel = Endpoint::from_static(url()).connect().await.unwrap();
    let session = pb::Session { last_path: Some(format!("/{}", "a".repeat(3 << 20))), ..pb::Session::default() };
    let parent = "tenants/acme/users/u".to_owned();
    let request = pb::CreateSessionRequest { parent, session: Some(session), ..pb::CreateSessionRequest::default() };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("authorization", support::bearer(&mesh().endpoints().token).parse().unwrap());
    let mut client = SessionServiceClient::new(channel);
    let called = tokio::time::timeout(Duration::from_secs(20), client.create_session(request));
    let status = called.await.expect("an answer").unwrap_err();
    assert!(matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted), "{status:?}");
}

#[tokio::test]
async fn outage_of_store_or_service_is_503_in_the_error_shape() {
    let mesh = Mesh::start(options("json-outage")).await.unwrap();
    let url = mesh.endpoints().gateway.clone().unwrap();
    let path = format!("/v1/{}", mesh.endpoints().example.clone().unwrap());

    mesh.valkey().unwrap().pause().unwrap();
    for method in [Method::GET, Method::PATCH] {
        let body = (method == Method::PATCH).then(|| json!({"lastPath": "/a"}));
        let (status, error) = call(&mesh, method.clone(), &path, body).await;
        // Answered by the service before the gateway's timeout.
        assert!(status == 503 || status == 504, "{method}: {status} {error}");
        let reason = &detail(&error, "ErrorInfo")["reason"];
        let gateways = ["SERVICE_TIMEOUT", "SERVICE_UNREACHABLE", "REVOCATION_UNAVAILABLE"];
        assert!(!gateways.iter().any(|gateway| reason == gateway), "{method}: {error}");
    }
    // A browser's EventSource reconnects after a 200 only: it gets a stream that ends.
    let watch = client(&mesh).get(format!("{url}{path}:watch")).header("accept", "text/event-stream");
    let response = watch.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.expect("the stream ends well");
    assert!(text.starts_with("retry: 1000\n\nevent: error\ndata: {") && text.contains("STORE_UNAVAILABLE"), "{text}");
    mesh.valkey().unwrap().resume().unwrap();

    mesh.service("session").kill().unwrap();
    let (status, error) = call(&mesh, Method::GET, &path, None).await;
    assert_eq!((status, &error["code"]), (503, &json!(14)), "{error}");
    assert_eq!(detail(&error, "ErrorInfo")["reason"], "SERVICE_UNREACHABLE");
}

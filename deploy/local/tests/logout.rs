//! Logout through JSON with `revokeTokens`: ends the session and revokes its tokens, in one trace across the services.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_local::{Grant, Issuer, Mesh};
use keyplane_testkit::{Collector, Span};
use reqwest::Client;
use serde_json::{Value, json};
use support::{http, reason};

const TRACE: &str = "5bf92f3577b34da6a3ce929d0e0e4737";
const CALLER: &str = "00f067aa0ba902b8";
const BOUND: Duration = Duration::from_millis(100);
const SESSIONS: &str = "/v1/tenants/acme/users/ada/sessions";

async fn start(folder: &str, otlp_endpoint: Option<String>) -> Mesh {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut options = support::strict_options(folder);
    options.otlp_endpoint = otlp_endpoint;
    Mesh::start(options).await.unwrap()
}

/// Caller with a token of the user ada.
struct Ada {
    http: Client,
    jti: String,
    /// Claim `exp` of the token.
    expires: i64,
}

fn ada(mesh: &Mesh, jti: &str, sid: Option<&str>) -> Ada {
    let grant = Grant { jti: Some(jti.to_owned()), sid: sid.map(str::to_owned), ..Grant::new("acme", "ada") };
    let token = mesh.issuer().mint(&grant).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    Ada { http: http(&token), jti: jti.to_owned(), expires: claims["exp"].as_i64().unwrap() }
}

fn url(mesh: &Mesh, path: &str) -> String {
    format!("{}{path}", mesh.endpoints().gateway.as_ref().unwrap())
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Creates a session with the caller's token bound to it; returns its path.
async fn login(mesh: &Mesh, by: &Ada) -> String {
    let expires = prost_types::Timestamp { seconds: by.expires, nanos: 0 }.to_string();
    let body = json!({"tokens": [{"jti": by.jti, "issuer": Issuer::NAME, "expireTime": expires}]});
    let (status, session) = answer(by.http.post(url(mesh, SESSIONS)).json(&body)).await;
    assert_eq!(status, 200, "{session}");
    format!("/v1/{}", session["name"].as_str().unwrap())
}

/// Checks that no request passes which begins 100 ms or later after the acknowledgement.
async fn assert_revoked(mesh: &Mesh, caller: &Ada, whose: &str, acknowledged: Instant) {
    loop {
        let began = acknowledged.elapsed();
        let (status, answer) = answer(caller.http.get(url(mesh, SESSIONS))).await;
        if status == 401 {
            assert_eq!(reason(&answer), (16, "TOKEN_REVOKED"), "{whose}: {answer}");
            return;
        }
        assert!(began < BOUND, "{whose}: it passed, {began:?} after the acknowledgement: {answer}");
    }
}

#[tokio::test]
async fn logout_ends_the_session_and_its_tokens_in_one_trace() {
    let collector = Collector::start();
    let mesh = start("logout", Some(collector.endpoint())).await;
    let other = ada(&mesh, "j-other", None);
    let bound = ada(&mesh, "j-bound", None);
    let path = login(&mesh, &bound).await;
    let sid = path.rsplit('/').next().unwrap();
    let of_session = ada(&mesh, "j-never-bound", Some(sid));
    assert_eq!(answer(of_session.http.get(url(&mesh, &path))).await.0, 200);

    let request = other.http.delete(url(&mesh, &format!("{path}?revokeTokens=true")));
    let (status, body) = answer(request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"))).await;
    let acknowledged = Instant::now();
    assert_eq!(status, 200, "{body}");
    assert_revoked(&mesh, &bound, "the token that was bound", acknowledged).await;
    assert_revoked(&mesh, &of_session, "the token with the session as its sid", acknowledged).await;
    let (status, error) = answer(other.http.get(url(&mesh, &path))).await;
    assert_eq!((status, reason(&error).1), (404, "SESSION_NOT_FOUND"), "{error}");

    let ours = |spans: &[Span]| -> Vec<Span> { spans.iter().filter(|span| span.trace_id == TRACE).cloned().collect() };
    let spans =
        ours(&collector.wait_for(|spans| revoked(&ours(spans)).is_some() && deleted(&ours(spans)).is_some()).await);
    let (revoked, deleted) = (revoked(&spans).unwrap(), deleted(&spans).unwrap());
    assert_eq!(revoked.parent_span_id, deleted.span_id, "the one is a call of the other: {spans:#?}");
    mesh.stop().await.unwrap();
}

fn revoked(spans: &[Span]) -> Option<&Span> {
    server(spans, "keyplane-auth-revocation", "RevocationService/BatchRevoke")
}

fn deleted(spans: &[Span]) -> Option<&Span> {
    server(spans, "keyplane-session", "SessionService/DeleteSession")
}

fn server<'a>(spans: &'a [Span], service: &str, method: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.service == service && span.kind == "server" && span.name.ends_with(method))
}

#[tokio::test]
async fn logout_everywhere_spares_the_calling_session() {
    let mesh = start("logout-everywhere", None).await;
    let kept = ada(&mesh, "j-kept", None);
    let one = ada(&mesh, "j-one", None);
    let two = ada(&mesh, "j-two", None);
    let kept_path = login(&mesh, &kept).await;
    login(&mesh, &one).await;
    login(&mesh, &two).await;
    let except = kept_path.strip_prefix("/v1/").unwrap();
    let body = json!({"keepSession": except, "revokeTokens": true});
    let (status, count) = answer(kept.http.post(url(&mesh, &format!("{SESSIONS}:revokeAll"))).json(&body)).await;
    let acknowledged = Instant::now();
    assert_eq!((status, &count["revokedCount"]), (200, &json!(2)), "{count}");
    assert_revoked(&mesh, &one, "one of the others", acknowledged).await;
    assert_revoked(&mesh, &two, "the other of the others", acknowledged).await;
    let (status, list) = answer(kept.http.get(url(&mesh, SESSIONS))).await;
    assert_eq!(status, 200, "{list}");
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["sessions"][0]["name"], except);
    mesh.stop().await.unwrap();
}

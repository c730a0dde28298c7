//! Authentication at the gateway: tokens that it accepts, its calls to auth-revocation, and its reply to each verdict.

mod support;

use std::time::{Duration, Instant};

use envoy_types::pb::google::protobuf::{Value as Claim, value::Kind};
use keyplane_local::{Grant, Issuer};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use support::gate::{Gate, SESSIONS};
use support::peer::Answer;
use support::{grpc, http, reason, token};
use tonic::Code;

const LIST: &str = "/keyplane.session.v1.SessionService/ListSessions";
const METADATA: &str = "envoy.filters.http.jwt_authn";

/// Header WWW-Authenticate, reason and message of a 401.
async fn rejected(response: Response) -> (String, String, String) {
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4200");
    assert_eq!(response.headers()["content-type"], "application/json");
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let error: Value = response.json().await.unwrap();
    let (code, reason) = reason(&error);
    assert_eq!(code, 16, "{error}");
    (challenge, reason.to_owned(), error["message"].as_str().unwrap().to_owned())
}

fn text(claim: Option<&Claim>) -> &str {
    match claim.and_then(|claim| claim.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn number(claim: Option<&Claim>) -> f64 {
    match claim.and_then(|claim| claim.kind.as_ref()) {
        Some(Kind::NumberValue(number)) => *number,
        other => panic!("no number: {other:?}"),
    }
}

// === tests ===

#[tokio::test]
async fn only_unexpired_tokens_of_the_issuer_pass() {
    let gate = Gate::start("authz/tokens");
    let client = Client::new();
    let (challenge, reason, message) = rejected(gate.get(SESSIONS, &client).await).await;
    assert_eq!((challenge.as_str(), reason.as_str()), (r#"Bearer realm="keyplane""#, "UNAUTHENTICATED"));
    assert!(message.starts_with("the request has no token: "), "{message}");
    let status = grpc(&gate.channel(), LIST, None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().starts_with("the call has no token: "), "{status:?}");
    assert_eq!(status.metadata().get("www-authenticate").unwrap(), r#"Bearer realm="keyplane""#);

    let hour = Duration::from_secs(3600);
    let expired = gate.issuer.mint(&Grant { age: 2 * hour, ..Grant::new("acme", "u-42") }).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = token(&Issuer::create(elsewhere.path()).unwrap(), "u-42");
    let good = gate.token();
    let cut = good.rsplit_once('.').unwrap().0.to_owned() + ".";
    for (name, bad) in [("expired", &expired), ("another key", &other), ("no signature", &cut), ("none", &"x".into())] {
        let (challenge, reason, message) = rejected(gate.get(SESSIONS, &http(bad)).await).await;
        assert_eq!(challenge, r#"Bearer realm="keyplane", error="invalid_token""#, "{name}");
        assert!(message.starts_with("invalid token: Jw"), "{name}: {message}");
        assert_eq!(reason, "UNAUTHENTICATED", "{name}");
        let status = grpc(&gate.channel(), LIST, Some(bad)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}");
        assert!(!status.message().starts_with('{'), "{name}: {}", status.message());
    }
    // A token in the URL stays in logs and histories; the answer must not repeat the URL.
    for bearer in [None, Some("x.y.z")] {
        let client = bearer.map_or_else(Client::new, http);
        let (challenge, ..) = rejected(gate.get(&format!("{SESSIONS}?access_token={good}"), &client).await).await;
        assert!(!challenge.contains("access_token") && !challenge.contains("http"), "{challenge}");
    }
    assert!(gate.peer.take_checks().is_empty(), "auth-revocation was called with an invalid token");
    assert!(!gate.passed());

    // Programs spell the scheme's name in several ways.
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = client.get(format!("{}{SESSIONS}", gate.url)).header("authorization", format!("{scheme} {good}"));
        request.send().await.unwrap();
        assert!(gate.passed(), "{scheme}: {}", gate.envoy.process().log());
    }
}

#[tokio::test]
async fn cookie_authenticates_reads_only() {
    let gate = Gate::start("authz/cookie");
    let cookie = format!("theme=dark; keyplane_token={}", gate.token());
    let client = Client::new();
    let call = async |method: Method, path: &str, cookie: &str, header: Option<&str>| {
        let mut request = client.request(method, format!("{}{path}", gate.url)).header("cookie", cookie);
        if let Some(header) = header {
            request = request.bearer_auth(header);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for path in [SESSIONS.to_owned(), format!("{SESSIONS}:watch")] {
        assert_ne!(call(Method::GET, &path, &cookie, None).await, 401, "{path}");
        assert!(gate.passed(), "{path}");
    }
    // Another site can make a browser send these with cookies.
    assert_eq!(call(Method::POST, SESSIONS, &cookie, None).await, 401);
    assert_eq!(call(Method::POST, "/v1/tenants/acme:revokeTenant", &cookie, None).await, 401);
    assert!(!gate.passed());

    // A stale cookie does not override a header.
    gate.peer.take_checks();
    let stale = "keyplane_token=x.y.z";
    assert_ne!(call(Method::GET, SESSIONS, stale, Some(&gate.token())).await, 401);
    assert!(gate.passed());
    // The header wins over a valid cookie.
    let header = gate.issuer.mint(&Grant { jti: Some("in-header".into()), ..Grant::new("acme", "u-42") }).unwrap();
    gate.peer.take_checks();
    call(Method::GET, SESSIONS, &cookie, Some(&header)).await;
    let checks = gate.peer.take_checks();
    let metadata = &checks[0].attributes.as_ref().unwrap().metadata_context.as_ref().unwrap().filter_metadata;
    let Some(Kind::StructValue(payload)) = &metadata[METADATA].fields["payload"].kind else { panic!("{checks:?}") };
    assert_eq!(text(payload.fields.get("jti")), "in-header");
}

#[tokio::test]
async fn auth_revocation_gets_verified_claims_only_and_services_get_no_token() {
    let gate = Gate::start("authz/claims");
    let grant = Grant { jti: Some("j-1".into()), sid: Some("s-1".into()), ..Grant::new("acme", "u-42") };
    let token = gate.issuer.mint(&grant).unwrap();
    let request = http(&token).get(format!("{}{SESSIONS}", gate.url)).header("x-jwt-payload", "forged");
    request.header("cookie", "theme=dark").send().await.unwrap();

    let checks = gate.peer.take_checks();
    let attributes = checks[0].attributes.as_ref().unwrap();
    let request = attributes.request.as_ref().unwrap().http.as_ref().unwrap();
    assert!(request.headers.is_empty(), "{:?}", request.headers);
    let metadata = &attributes.metadata_context.as_ref().unwrap().filter_metadata;
    assert_eq!(metadata.keys().collect::<Vec<_>>(), [METADATA]);
    let of = |name: &str| match &metadata[METADATA].fields[name].kind {
        Some(Kind::StructValue(fields)) => fields.fields.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let (header, payload) = (of("header"), of("payload"));
    assert_eq!(text(header.get("kid")), gate.issuer.kid());
    for (name, value) in [("iss", Issuer::NAME), ("sub", "u-42"), ("tenant", "acme"), ("jti", "j-1"), ("sid", "s-1")] {
        assert_eq!(text(payload.get(name)), value, "{name}");
    }
    let (iat, millis) = (number(payload.get("iat")), number(payload.get("iat_ms")));
    assert!((iat * 1000.0 - millis).abs() < 0.01, "{iat} lost the fraction of {millis}");

    let seen = gate.peer.take_others();
    assert!(!seen.is_empty());
    for (path, headers) in seen {
        let leaked = headers.values().any(|value| value.to_str().is_ok_and(|value| value.contains(&token)));
        let names = ["authorization", "cookie"].iter().any(|name| headers.contains_key(*name));
        assert!(!leaked && !names, "{path}: {headers:?}");
    }
}

/// Follows the comment beside the filter.
#[tokio::test]
async fn route_can_override_the_outage_policy() {
    let route = "route: {cluster: session, timeout: 6s, retry_policy: *retry_what_was_never_sent}\n";
    let gate = Gate::start_with("authz/policy", |config| {
        let pad = " ".repeat(26);
        let lines = support::gate::commented(&config, "envoy.filters.http.ext_authz:", 3, &pad);
        assert!(lines.contains("keyplane.policy: open") && config.contains(route), "{lines}");
        config.replacen(route, &format!("{route}{pad}typed_per_filter_config:\n{lines}"), 1)
    });
    let token = gate.token();
    http(&token).post(format!("{}{SESSIONS}", gate.url)).body("{}").send().await.unwrap();
    gate.get(SESSIONS, &http(&token)).await;
    let checks = gate.peer.take_checks();
    let policy = |index: usize| checks[index].attributes.as_ref().unwrap().context_extensions.get("keyplane.policy");
    assert_eq!(policy(0).map(String::as_str), Some("open"), "{checks:?}");
    assert_eq!(policy(1), None, "another route");
}

#[tokio::test]
async fn a_revoked_token_is_401_and_whatever_is_no_answer_is_503() {
    let gate = Gate::start("authz/answers");
    let (client, token) = (http(&gate.token()), gate.token());

    for (answer, expected, words) in [
        (Answer::Revoked, "TOKEN_REVOKED", "the token was revoked; log in again"),
        (Answer::Unacceptable, "UNAUTHENTICATED", "the token lacks the claim tenant"),
    ] {
        gate.peer.answer(answer);
        let (challenge, reason, message) = rejected(gate.get(SESSIONS, &client).await).await;
        assert!(challenge.starts_with(r#"Bearer error="invalid_token""#), "{challenge}");
        assert_eq!((reason.as_str(), message.as_str()), (expected, words));
        let status = grpc(&gate.channel(), LIST, Some(&token)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, words), "{status:?}");
    }

    for answer in [Answer::Unavailable, Answer::Broken, Answer::Silent] {
        gate.peer.answer(answer);
        let began = Instant::now();
        let response = gate.get(SESSIONS, &client).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{answer:?}: {:?}", began.elapsed());
        assert_eq!(response.status(), 503, "{answer:?}");
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4200");
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (14, "REVOCATION_UNAVAILABLE"), "{answer:?}: {error}");
        let status = grpc(&gate.channel(), LIST, Some(&token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{answer:?}: {status:?}");
        // A browser's EventSource reconnects after a 200 only.
        let watch = client.get(format!("{}{SESSIONS}:watch", gate.url)).header("accept", "text/event-stream");
        let response = watch.send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "retry: 1000\n\n"));
    }
    assert!(!gate.passed());

    // The user must log in again, so the EventSource has to stop.
    gate.peer.answer(Answer::Revoked);
    let watch = client.get(format!("{}{SESSIONS}:watch", gate.url)).header("accept", "text/event-stream");
    assert_eq!(watch.send().await.unwrap().status(), 401);
    gate.peer.answer(Answer::Pass);
    gate.get(SESSIONS, &client).await;
    assert!(gate.passed());
}

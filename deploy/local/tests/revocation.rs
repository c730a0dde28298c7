//! Revoked tokens, through a real Envoy with the shipped configuration: rejected within 100 ms, whatever revoked them,
//! and nothing passes a gateway that can't check.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, Header};
use keyplane_contracts::http::{Binding, bindings};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_engine::{Process, Spec, free_port};
use keyplane_local::{Grant, Issuer, Mesh};
use keyplane_testkit::eventually;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::bearer::{RevokeBy, User, assert_oauth_error, signed};
use support::{grpc, http, reason};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(30);
/// Time after the acknowledgement from which no request may pass.
const BOUND: Duration = Duration::from_millis(100);

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(start("revocation"));
        std::thread::spawn(start).join().unwrap()
    })
}

async fn start(folder: &str) -> Mesh {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    Mesh::start(support::strict_options(folder)).await.unwrap()
}

/// Instance of a service, beside the mesh's or in its place.
fn instance(mesh: &Mesh, name: &str, grpc: &str) -> Process {
    let mut spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .name(name)
        .env("KEYPLANE_LOCAL_SERVICE", name)
        .env("KEYPLANE_GRPC_ADDR", grpc)
        .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
        .env("KEYPLANE_KV_URL", &mesh.endpoints().valkey);
    if name == "auth-revocation" {
        spec = spec.env("KEYPLANE_REVOCATION_JWKS", mesh.issuer().keys());
    }
    Process::spawn(spec).unwrap()
}

fn in_an_hour() -> prost_types::Timestamp {
    (SystemTime::now() + Duration::from_secs(3600)).into()
}

/// Checks a rejection: RFC 6750's header, and the common error shape.
async fn assert_revoked(response: Response) {
    assert_eq!(response.status(), 401);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer") && challenge.contains(r#"error="invalid_token""#), "{challenge}");
    let error: Value = response.json().await.unwrap();
    assert_eq!(reason(&error), (16, "TOKEN_REVOKED"), "{error}");
}

// === scopes ===

/// Revokes on one instance while the gateway calls another.
#[tokio::test]
async fn request_100_ms_after_the_acknowledgement_is_rejected() {
    let mesh = mesh();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let other = instance(mesh, "auth-revocation", &address);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut other_client = RevocationServiceClient::new(channel);
    eventually("the other instance is ready", PATIENCE, async || {
        let head = other_client.clone().get_head(pb::GetHeadRequest {}).await;
        head.map_err(|status| format!("{status}: {}", other.log()))
    })
    .await;

    let mut delays = Vec::new();
    for round in 0..50 {
        let user = User::of(mesh, &format!("fast-{round}"));
        assert_eq!(user.status().await, 200);
        let request = pb::RevokeTokenRequest {
            parent: "tenants/acme".to_owned(),
            issuer: Issuer::NAME.to_owned(),
            jti: user.grant.jti.clone().unwrap(),
            expire_time: Some(in_an_hour()),
            ..pb::RevokeTokenRequest::default()
        };
        other_client.revoke_token(request).await.unwrap();
        let acknowledged = Instant::now();
        loop {
            let began = acknowledged.elapsed();
            match user.try_status().await {
                401 => break delays.push(began),
                503 => assert!(began < PATIENCE, "round {round}: the gateway still can't tell"),
                _ => assert!(began < BOUND, "round {round}: it passed, begun {began:?} after the acknowledgement"),
            }
        }
    }
    delays.sort();
    println!("first rejected request began after: p50 {:?}, max {:?}", delays[25], delays[49]);
    drop(other);
}

#[tokio::test]
async fn each_scope_revokes_its_tokens_only() {
    let mesh = mesh();
    let grant = |tenant: &str, user: &str| Grant { sid: Some(format!("s-{user}")), ..Grant::new(tenant, user) };
    let admin = User::of(mesh, "admin");
    let bystander = User::new(mesh, grant("scopes", "bystander"));
    let app = Grant { client: Some("app".to_owned()), ..grant("scopes", "of-client") };
    let cases = [
        (grant("scopes", "of-token"), ":revokeToken", json!({"issuer": Issuer::NAME, "jti": "j-of-token"})),
        (grant("scopes", "of-session"), ":revokeSession", json!({"sid": "s-of-session"})),
        (grant("scopes", "of-subject"), ":revokeSubject", json!({"subject": "of-subject"})),
        (grant("scopes", "of-login"), ":revokeSubject", json!({"subject": "of-login", "kind": "KIND_AUTH_TIME"})),
        (app, ":revokeClient", json!({"client": "app"})),
        (grant("by-key", "u"), ":revokeKey", json!({"issuer": Issuer::NAME, "kid": mesh.issuer().kid()})),
        (grant("by-tenant", "u"), ":revokeTenant", json!({})),
    ];
    for (grant, verb, body) in cases {
        let path = format!("/v1/tenants/{}{verb}", grant.tenant);
        let user = User::new(mesh, grant);
        assert_eq!(user.status().await, 200, "{path}");
        let revocation = admin.post(&path, &body).await;
        assert_revoked(user.read().await).await;
        let path = "/keyplane.session.v1.SessionService/ListSessions";
        let channel = Endpoint::from_shared(user.url("")).unwrap().connect_lazy();
        let status = grpc(&channel, path, Some(&user.token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{verb}: {status:?}");

        // Undo makes the token valid again.
        let name = revocation["name"].as_str().unwrap();
        let undone = admin.post(&format!("/v1/{name}:undo"), &json!({"etag": revocation["etag"]})).await;
        assert_eq!(undone["state"], "STATE_UNDONE", "{undone}");
        assert_eq!(user.status().await, 200, "{verb}");
    }
    assert_eq!((bystander.status().await, admin.status().await), (200, 200));
}

#[tokio::test]
async fn login_right_after_logout_everywhere_is_valid() {
    let mesh = mesh();
    let admin = User::of(mesh, "admin");
    for round in 0..5 {
        let name = format!("again-{round}");
        let before = User::new(mesh, Grant { jti: Some(format!("{name}-1")), ..Grant::new("acme", &name) });
        assert_eq!(before.status().await, 200);
        let revocation = admin.post("/v1/tenants/acme:revokeSubject", &json!({"subject": name})).await;
        // Cutoffs have a resolution of 1 ms.
        let cutoff = humantime::parse_rfc3339(revocation["cutoffTime"].as_str().unwrap()).unwrap();
        let next = cutoff + Duration::from_millis(1);
        eventually("the next millisecond", PATIENCE, async || SystemTime::now() >= next).await;
        let after = User::new(mesh, Grant { jti: Some(format!("{name}-2")), ..Grant::new("acme", &name) });
        assert_revoked(before.read().await).await;
        assert_eq!(after.status().await, 200, "within the same second");
    }
}

/// The gateway tries every key on a token without `kid`, so the revocation of a key would not match it.
#[tokio::test]
async fn token_without_kid_does_not_bypass_a_revoked_key() {
    let mesh = mesh();
    let admin = User::of(mesh, "admin");
    let path = "/v1/tenants/by-kid/users/u/sessions";
    let named = Header { kid: Some(mesh.issuer().kid().to_owned()), ..Header::new(Algorithm::ES256) };
    let (named, bare) =
        (signed(mesh, "by-kid", "u", &named), signed(mesh, "by-kid", "u", &Header::new(Algorithm::ES256)));
    let read = async |token: &str| {
        eventually("the gateway answers", PATIENCE, async || {
            let response = http(token).get(admin.url(path)).send().await.unwrap();
            if response.status() == 503 { Err(response) } else { Ok(response) }
        })
        .await
    };
    let assert_refused = async |token: &str, says: &str| {
        let response = read(token).await;
        assert_eq!(response.status(), 401);
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#) && challenge.contains(says), "{challenge}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (16, "UNAUTHENTICATED"), "{error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        let list = "/keyplane.session.v1.SessionService/ListSessions";
        let channel = Endpoint::from_shared(admin.url("")).unwrap().connect_lazy();
        assert_eq!(grpc(&channel, list, Some(token)).await.unwrap_err().code(), Code::Unauthenticated);
    };
    assert_eq!(read(&named).await.status(), 200);
    assert_refused(&bare, "kid").await;

    let check = async |kid: Option<&str>| {
        let expire = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(600)).to_string();
        let mut claims = json!({"issuer": Issuer::NAME, "jti": "j-u", "subject": "u", "expireTime": expire});
        if let Some(kid) = kid {
            claims["kid"] = json!(kid);
        }
        let one = admin.post("/v1/tenants/by-kid:check", &json!({ "claims": claims })).await;
        let many = admin.post("/v1/tenants/by-kid:batchCheck", &json!({ "claims": [claims] })).await;
        assert_eq!((&one["verdict"], &one["rule"]), (&many["results"][0]["verdict"], &many["results"][0]["rule"]));
        format!("{} {}", one["verdict"].as_str().unwrap(), one["rule"].as_str().unwrap_or_default())
    };
    assert!(check(None).await.starts_with("VERDICT_ACTIVE"));
    let body = json!({"issuer": Issuer::NAME, "kid": mesh.issuer().kid()});
    let revocation = admin.post("/v1/tenants/by-kid:revokeKey", &body).await;
    assert_revoked(read(&named).await).await;
    assert_refused(&bare, "kid").await;
    assert_eq!(check(None).await, "VERDICT_KEY_UNKNOWN RULE_KEY_UNKNOWN");
    assert_eq!(check(Some(mesh.issuer().kid())).await, "VERDICT_REVOKED RULE_KEY");
    assert!(check(Some("another")).await.starts_with("VERDICT_ACTIVE"));
    admin.post(&format!("/v1/{}:undo", revocation["name"].as_str().unwrap()), &json!({})).await;
    assert!(check(None).await.starts_with("VERDICT_ACTIVE"));
    assert_refused(&bare, "kid").await;
}

// === RFC 7009 ===

#[tokio::test]
async fn bearer_may_revoke_a_token_by_form_or_json() {
    let mesh = mesh();
    for (name, json) in [("by-form", false), ("by-json", true)] {
        let user = User::of(mesh, name);
        assert_eq!(user.status().await, 200);
        let form = format!("token={}&token_type_hint=access_token", user.token);
        let body = if json { RevokeBy::Json(json!({"token": user.token})) } else { RevokeBy::Form(&form) };
        assert_eq!(user.revoke_by("acme", body).await, (200, json!({})));
        assert_revoked(user.read().await).await;
        // Revoking twice succeeds.
        assert_eq!(user.revoke_by("acme", RevokeBy::Form(&form)).await, (200, json!({})));
    }
}

#[tokio::test]
async fn unverifiable_token_is_200_without_effect() {
    let mesh = mesh();
    let user = User::of(mesh, "untouched");
    let elsewhere = tempfile::tempdir().unwrap();
    let forged = Issuer::create(elsewhere.path()).unwrap().mint(&user.grant).unwrap();
    let unsigned = format!("{}.", user.token.rsplit_once('.').unwrap().0);
    let ok = (200, json!({}));
    for token in [forged.as_str(), &unsigned, "garbage", "a.b.c", "%00"] {
        assert_eq!(user.revoke_by("acme", RevokeBy::Form(&format!("token={token}"))).await, ok, "{token}");
        assert_eq!(user.revoke_by("acme", RevokeBy::Json(json!({"token": token}))).await, ok, "{token}");
    }
    // Token of another tenant.
    assert_eq!(user.revoke_by("other", RevokeBy::Json(json!({"token": user.token}))).await, ok);
    assert_eq!(user.status().await, 200);

    let refresh = json!({"token": "x", "token_type_hint": "refresh_token"});
    // Errors of the service and of the gateway have OAuth's form.
    let large = format!("token={}", "a".repeat(20_000));
    for (body, expected, error, words) in [
        (RevokeBy::Json(refresh), 400, "unsupported_token_type", "identity provider"),
        (RevokeBy::Form("token=a&token=b"), 400, "invalid_request", "body.token"),
        (RevokeBy::Json(json!({"token": ""})), 400, "invalid_request", "must be set"),
        (RevokeBy::Form(&large), 413, "invalid_request", "16 KiB"),
    ] {
        let (status, answer) = user.revoke_by("acme", body).await;
        assert_oauth_error(status, &answer, expected, error, words);
    }
}

#[tokio::test]
async fn event_source_sends_its_token_in_a_cookie() {
    let mesh = mesh();
    let user = User::of(mesh, "browser");
    let watch = async || {
        let request = Client::new().get(user.url("/v1/tenants/acme/users/browser/sessions:watch"));
        let request = request.header("cookie", format!("keyplane_token={}", user.token));
        request.header("accept", "text/event-stream").send().await.unwrap()
    };
    let open = watch().await;
    assert_eq!(open.headers()["content-type"], "text/event-stream", "{}", open.status());
    user.revoke_by("acme", RevokeBy::Json(json!({"token": user.token}))).await;
    assert_revoked(watch().await).await;
}

// === outages ===

/// Sends a request for the binding, with an empty body if it takes one.
async fn call(user: &User<'_>, binding: &Binding) -> Response {
    let path = binding.variables.iter().fold(binding.path.clone(), |path, name| {
        let value = if name == "session" { "0123456789abcdef0123456789abcdef" } else { "any" };
        path.replace(&format!("{{{name}}}"), value)
    });
    let verb = reqwest::Method::from_bytes(binding.verb.as_bytes()).unwrap();
    let mut request = user.http.request(verb, user.url(&path));
    if !binding.body.is_empty() {
        request = request.json(&json!({}));
    }
    request.send().await.unwrap()
}

/// Paths of every RPC of the services behind the gateway.
fn rpcs() -> BTreeSet<String> {
    let services = bindings().into_iter().map(|binding| binding.method.parent_service().clone());
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

fn is_of(path: &str, service: &str) -> bool {
    path.split('.').nth(1) == Some(if service == "auth-revocation" { "revocation" } else { service })
}

/// Checks that every route is 503, except those of running services.
async fn assert_nothing_passes(user: &User<'_>, channel: &Channel, stopped: &str) {
    for binding in bindings() {
        let status = call(user, &binding).await.status();
        let closed = stopped == "auth-revocation" || is_of(&binding.grpc_path(), stopped);
        assert_eq!(status == 503, closed, "without {stopped}: {} {}: {status}", binding.verb, binding.path);
    }
    if stopped == "auth-revocation" {
        let (status, answer) = user.revoke_by("acme", RevokeBy::Json(json!({"token": user.token}))).await;
        assert_oauth_error(status, &answer, 503, "temporarily_unavailable", "retry");
    }
    for path in rpcs() {
        if let Err(status) = grpc(channel, &path, Some(&user.token)).await {
            let closed = stopped == "auth-revocation" || is_of(&path, stopped);
            assert_eq!(status.code() == Code::Unavailable, closed, "without {stopped}: {path}: {status:?}");
        } else {
            assert!(!is_of(&path, stopped) && stopped != "auth-revocation", "without {stopped}: {path} was answered");
        }
    }
}

#[tokio::test]
async fn no_route_bypasses_a_stopped_service() {
    let mesh = start("revocation-stopped").await;
    let user = User::of(&mesh, "u-42");
    let channel = Endpoint::from_shared(user.url("")).unwrap().connect_lazy();
    assert_eq!(user.status().await, 200);
    let mut back = Vec::new();
    for name in ["session", "auth-revocation"] {
        mesh.service(name).kill().unwrap();
        assert_nothing_passes(&user, &channel, name).await;
        // The service returns at its address; nothing else restarts.
        let again = instance(&mesh, name, &mesh.endpoints().service(name).grpc);
        eventually("the gateway reaches it", PATIENCE, async || match user.try_status().await {
            200 => Ok(()),
            status => Err(format!("{status}: {}", again.log())),
        })
        .await;
        back.push(again);
    }
    drop(back);
    mesh.stop().await.unwrap();
}

#[tokio::test]
async fn restart_of_valkey_restarts_nothing_else_and_restores_no_token() {
    let mesh = start("revocation-valkey").await;
    let (good, bad) = (User::of(&mesh, "good"), User::of(&mesh, "bad"));
    assert_eq!(bad.revoke_by("acme", RevokeBy::Json(json!({"token": bad.token}))).await.0, 200);
    assert_eq!((good.status().await, bad.status().await), (200, 401));

    mesh.valkey().unwrap().kill().unwrap();
    let (status, answer) = good.revoke_by("acme", RevokeBy::Json(json!({"token": good.token}))).await;
    assert_oauth_error(status, &answer, 503, "temporarily_unavailable", "");
    // Outage policy `closed`: 503 once memory is stale.
    eventually("valid tokens get 503", PATIENCE, async || match good.try_status().await {
        503 => Ok(()),
        status => Err(status),
    })
    .await;
    assert_ne!(bad.try_status().await, 200);
    mesh.valkey().unwrap().restart().unwrap();
    eventually("valid tokens pass again", PATIENCE, async || {
        let status = bad.try_status().await;
        assert!(status == 401 || status == 503, "a revoked token: {status}");
        match good.try_status().await {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    // The store returned empty; the revocation replica still has the revocation.
    assert_revoked(bad.read().await).await;
    for name in ["session", "auth-revocation"] {
        assert_eq!(mesh.service(name).exit(), None, "{name} ended: {}", mesh.service(name).log());
    }
    assert_eq!(mesh.gateway().unwrap().restarts(), 0, "the gateway ended");
    mesh.stop().await.unwrap();
}

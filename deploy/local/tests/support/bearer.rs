//! Caller with a token that can be revoked.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use keyplane_local::{Grant, Issuer, Mesh};
use keyplane_testkit::eventually;
use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::http;

const PATIENCE: Duration = Duration::from_secs(30);

/// Caller with a token.
pub struct User<'a> {
    pub mesh: &'a Mesh,
    pub grant: Grant,
    pub token: String,
    pub http: Client,
}

// === impl User ===

impl<'a> User<'a> {
    pub fn new(mesh: &'a Mesh, grant: Grant) -> User<'a> {
        let grant = Grant { jti: Some(grant.jti.clone().unwrap_or_else(|| format!("j-{}", grant.user))), ..grant };
        let token = mesh.issuer().mint(&grant).unwrap();
        let http = http(&token);
        User { mesh, grant, token, http }
    }

    pub fn of(mesh: &'a Mesh, user: &str) -> User<'a> {
        User::new(mesh, Grant::new("acme", user))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.mesh.endpoints().gateway.as_ref().unwrap())
    }

    /// Lists the user's own sessions, once.
    pub async fn try_read(&self) -> Response {
        let path = format!("/v1/tenants/{}/users/{}/sessions", self.grant.tenant, self.grant.user);
        self.http.get(self.url(&path)).send().await.unwrap()
    }

    /// Lists the user's own sessions, and retries a 503, which a busy machine causes for moments.
    pub async fn read(&self) -> Response {
        eventually("the gateway answers", PATIENCE, async || {
            let response = self.try_read().await;
            if response.status() == 503 { Err(response) } else { Ok(response) }
        })
        .await
    }

    pub async fn status(&self) -> u16 {
        self.read().await.status().as_u16()
    }

    pub async fn try_status(&self) -> u16 {
        self.try_read().await.status().as_u16()
    }

    /// Sends a POST of JSON, and expects success.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        eventually("the gateway answers", PATIENCE, async || {
            let response = self.http.post(self.url(path)).json(body).send().await.unwrap();
            let status = response.status();
            let answer: Value = response.json().await.unwrap();
            assert!(status == 200 || status == 503, "{path}: {status} {answer}");
            if status == 200 { Ok(answer) } else { Err(answer) }
        })
        .await
    }

    /// Revokes by RFC 7009, with no token except the one in the body.
    pub async fn revoke_by(&self, tenant: &str, body: RevokeBy<'_>) -> (u16, Value) {
        let request = Client::new().post(self.url(&format!("/v1/tenants/{tenant}/oauth2/revoke")));
        let request = match body {
            RevokeBy::Form(form) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())
            }
            RevokeBy::Json(json) => request.json(&json),
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

/// Body of a request to `oauth2/revoke`.
pub enum RevokeBy<'a> {
    Form(&'a str),
    Json(Value),
}

/// Checks an error of RFC 6749, section 5.2: two members, and no quotation mark or backslash in the description.
#[track_caller]
pub fn assert_oauth_error(status: u16, answer: &Value, expected: u16, error: &str, words: &str) {
    assert_eq!((status, &answer["error"]), (expected, &json!(error)), "{answer}");
    let description = answer["error_description"].as_str().unwrap_or_default();
    assert!(description.contains(words), "{description:?} lacks {words}");
    let allowed = |c: char| (' '..='~').contains(&c) && !['"', '\\'].contains(&c);
    assert!(description.chars().all(allowed) && answer.as_object().unwrap().len() == 2, "{answer}");
}

/// Signs a token of `user` with any header by the mesh's own key.
pub fn signed(mesh: &Mesh, tenant: &str, user: &str, header: &Header) -> String {
    let pem = std::fs::read_to_string(mesh.issuer().keys().with_file_name("issuer-key.pem")).unwrap();
    let der = SecretKey::from_pkcs8_pem(&pem).unwrap().to_pkcs8_der().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": Issuer::NAME, "aud": Issuer::AUDIENCE, "sub": user, "tenant": tenant, "scope": "*",
        "jti": format!("j-{user}"), "sid": format!("s-{user}"), "iat": now - 10, "auth_time": now - 10, "exp": now + 600,
    });
    jsonwebtoken::encode(header, &claims, &EncodingKey::from_ec_der(der.as_bytes())).unwrap()
}

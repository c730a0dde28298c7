//! RFC 7009: the bearer of a token can revoke it, and nobody else.

mod support;

use std::path::PathBuf;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use keyplane_auth_revocation::{Config, SERVICE};
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_revocation::Millis;
use keyplane_server::config::{self, Env};
use serde_json::{Value, json};
use support::{ISSUER, PARENT, Service, claims, details, seconds_from_now, shared, violated};
use tonic::{Code, Status};

/// Key pair of P-256, made for the test.
struct Pair {
    kid: String,
    key: EncodingKey,
}

/// Key set in a file, which is deleted with it.
struct KeySet(tempfile::NamedTempFile);

// === impl Pair ===

impl Pair {
    fn new(kid: &str) -> Pair {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("random numbers");
        // PKCS#8 of P-256: a fixed header, and the secret. Nearly every 32 bytes are one, if the first is not 0xff.
        secret[0] &= 0x7f;
        let header = "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420";
        let header = (0..header.len()).step_by(2).map(|at| u8::from_str_radix(&header[at..at + 2], 16).expect("hex"));
        let der: Vec<u8> = header.chain(secret).collect();
        Pair { kid: kid.to_owned(), key: EncodingKey::from_ec_der(&der) }
    }

    fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a key of P-256");
        jwk.common.key_id = Some(self.kid.clone());
        jwk
    }

    fn sign(&self, changed: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "jti": "j-1", "tenant": "acme", "sub": "u-42",
            "exp": support::claims("").expire_time.unwrap().seconds,
        });
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        encode(&header, &claims, &self.key).expect("it is signed")
    }
}

// === impl KeySet ===

impl KeySet {
    fn new(pairs: &[&Pair]) -> KeySet {
        let set = KeySet(tempfile::NamedTempFile::new().expect("a file"));
        set.put(pairs);
        set
    }

    fn put(&self, pairs: &[&Pair]) {
        let keys: Vec<_> = pairs.iter().map(|pair| pair.public()).collect();
        std::fs::write(self.0.path(), json!({ "keys": keys }).to_string()).expect("it is written");
    }

    fn path(&self) -> String {
        let path: PathBuf = self.0.path().to_owned();
        path.into_os_string().into_string().expect("a path of text")
    }
}

async fn serve(set: &KeySet) -> Service {
    shared(&[("KEYPLANE_REVOCATION_JWKS", &set.path()), ("KEYPLANE_REVOCATION_ISSUERS", ISSUER)]).await
}

async fn send(service: &Service, content_type: &str, data: String) -> Result<(), Status> {
    let body = HttpBody { content_type: content_type.into(), data: data.into() };
    let request = pb::RevokeOAuthTokenRequest { parent: PARENT.into(), body: Some(body) };
    service.client.clone().revoke_o_auth_token(request).await.map(drop)
}

async fn revoke(service: &Service, token: &str) -> Result<(), Status> {
    send(service, "application/x-www-form-urlencoded", format!("token={token}&token_type_hint=access_token")).await
}

async fn is_revoked(service: &Service) -> bool {
    service.rule(claims("j-1")).await == pb::Rule::Token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_token_is_revoked() {
    let pair = Pair::new("k-1");
    let set = KeySet::new(&[&pair]);
    let service = serve(&set).await;
    revoke(&service, &pair.sign(&json!({}))).await.expect("200");
    assert!(is_revoked(&service).await);
    let list = audit::ListAuditEntriesRequest { parent: PARENT.into(), ..audit::ListAuditEntriesRequest::default() };
    let audit = service.client.clone().list_audit_entries(list).await.expect("a page").into_inner().audit_entries;
    let cause = audit[0].cause.clone().expect("who and why");
    assert_eq!(
        (cause.initiator.as_str(), cause.reason(), cause.description.as_str()),
        ("u-42", audit::cause::Reason::Logout, "RFC 7009")
    );

    let service = serve(&set).await;
    let body = json!({"token": pair.sign(&json!({}))}).to_string();
    send(&service, "application/json", body).await.expect("200");
    assert!(is_revoked(&service).await, "JSON says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_does_not_hold_is_200_and_has_no_effect() {
    let (pair, stranger) = (Pair::new("k-1"), Pair::new("k-1"));
    let set = KeySet::new(&[&pair]);
    let service = serve(&set).await;
    let good = pair.sign(&json!({}));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let (_, signature) = stranger.sign(&json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let tokens = [
        "a-refresh-token-or-so".to_owned(),
        stranger.sign(&json!({})),
        format!("{signed}.{signature}"),
        format!("{signed}."),
        pair.sign(&json!({"tenant": "other"})),
        pair.sign(&json!({"iss": "https://elsewhere.example"})),
        pair.sign(&json!({"exp": seconds_from_now(-120).seconds})),
        pair.sign(&json!({"exp": null})),
        Pair::new("k-unknown").sign(&json!({})),
    ];
    for token in tokens {
        revoke(&service, &token).await.expect("200, as the RFC has it");
        assert!(!is_revoked(&service).await, "{token}");
    }
    revoke(&service, &good).await.expect("200");
    assert!(is_revoked(&service).await, "with its own signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_rejected() {
    let pair = Pair::new("k-1");
    let set = KeySet::new(&[&pair]);
    let service = serve(&set).await;
    let form = "application/x-www-form-urlencoded";
    let rejected =
        async |content_type: &str, data: &str| send(&service, content_type, data.to_owned()).await.unwrap_err();
    let hint = rejected(form, "token=x&token_type_hint=refresh_token").await;
    details(&hint, Code::InvalidArgument, "UNSUPPORTED_TOKEN_TYPE");
    let nameless = format!("token={}", pair.sign(&json!({"jti": ""})));
    details(&rejected(form, &nameless).await, Code::InvalidArgument, "UNSUPPORTED_TOKEN_TYPE");
    assert_eq!(violated(&rejected(form, "").await), ["body.token"]);
    assert_eq!(violated(&rejected(form, "token=a&token=b").await), ["body.token"]);
    assert_eq!(violated(&rejected("text/plain", "token=a").await), ["body.content_type"]);
    let status = service.client.clone().revoke_o_auth_token(pb::RevokeOAuthTokenRequest::default()).await.unwrap_err();
    assert_eq!(violated(&status), ["parent", "body"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_the_call_is_rejected() {
    let service = shared(&[]).await;
    let status = revoke(&service, "a.b.c").await.unwrap_err();
    details(&status, Code::FailedPrecondition, "JWKS_NOT_CONFIGURED");
    let set = KeySet::new(&[]);
    let path = set.path();
    drop(set);
    let service = shared(&[("KEYPLANE_REVOCATION_JWKS", &path)]).await;
    let status = revoke(&service, "a.b.c").await.unwrap_err();
    details(&status, Code::FailedPrecondition, "JWKS_NOT_CONFIGURED");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_lack_or_share_a_kid_fail_the_start() {
    let (one, other, nameless) = (Pair::new("k-1"), Pair::new("k-1"), Pair::new(""));
    let valkey = keyplane_testkit::valkey();
    for (pairs, says) in [
        (vec![&one, &other], "keys[0] and keys[1] have the same `kid`"),
        (vec![&one, &nameless], "keys[1] has no `kid`"),
    ] {
        let set = KeySet::new(&pairs);
        let (app, url) = (keyplane_testkit::app(), valkey.url());
        let settings = [
            ("KEYPLANE_APP", app.as_str()),
            ("KEYPLANE_KV_URL", url.as_str()),
            ("KEYPLANE_GRPC_ADDR", "127.0.0.1:0"),
            ("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0"),
            ("KEYPLANE_REVOCATION_JWKS", &set.path()),
        ];
        let (server, config) =
            config::read(Env::from_map(settings), &SERVICE, Config::read).expect("the settings of the test");
        let rejected = keyplane_auth_revocation::start(server, config).await.map(drop).expect_err("it does not start");
        let message = format!("{rejected}");
        assert!(message.contains(says) && message.contains("KEYPLANE_REVOCATION_JWKS"), "{message}");
    }
    // Nobody can name its key, and the operator lists the issuer.
    let set = KeySet::new(&[]);
    let mut bare = json!(one.public());
    bare.as_object_mut().unwrap().remove("kid");
    std::fs::write(set.0.path(), json!({ "keys": [bare] }).to_string()).expect("it is written");
    let settings = [("KEYPLANE_REVOCATION_JWKS", &*set.path()), ("KEYPLANE_REVOCATION_ISSUERS_WITHOUT_KID", ISSUER)];
    let service = shared(&settings).await;
    revoke(&service, &one.sign(&json!({}))).await.expect("200");
    assert!(is_revoked(&service).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_keys_share_a_kid_does_not_take_the_place_of_a_good_one() {
    let (good, stranger, new) = (Pair::new("k-1"), Pair::new("k-1"), Pair::new("k-2"));
    let set = KeySet::new(&[&good]);
    let service = serve(&set).await;
    set.put(&[&good, &new, &stranger]);
    // The file is searched for the key at once.
    revoke(&service, &new.sign(&json!({}))).await.expect("200");
    assert!(!is_revoked(&service).await, "the set is rejected as a whole");
    revoke(&service, &stranger.sign(&json!({}))).await.expect("200");
    assert!(!is_revoked(&service).await);
    revoke(&service, &good.sign(&json!({}))).await.expect("200");
    assert!(is_revoked(&service).await, "the keys are those of before");
    set.put(&[&good, &new]);
    revoke(&service, &new.sign(&json!({"jti": "j-2"}))).await.expect("200");
    assert_eq!(service.rule(claims("j-2")).await, pb::Rule::Token, "once it is mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_found_at_once_and_an_old_one_is_dropped() {
    let (old, new) = (Pair::new("old"), Pair::new("new"));
    let set = KeySet::new(&[&old]);
    let service = serve(&set).await;
    revoke(&service, &old.sign(&json!({"jti": "j-0"}))).await.expect("200");
    set.put(&[&old, &new]);
    revoke(&service, &new.sign(&json!({}))).await.expect("200");
    assert!(is_revoked(&service).await, "a token may be the first that the new key signed");

    set.put(&[&new]);
    let mut n = 1;
    keyplane_testkit::eventually("the old key is dropped", support::PATIENCE, async || {
        n += 1;
        revoke(&service, &old.sign(&json!({ "jti": format!("j-{n}") }))).await.expect("200");
        service.rule(claims(&format!("j-{n}"))).await == pb::Rule::Unspecified
    })
    .await;
}

// === RevokeToken with the token itself ===

fn by_token(token: &str) -> pb::RevokeTokenRequest {
    pb::RevokeTokenRequest { parent: PARENT.into(), token: token.into(), ..pb::RevokeTokenRequest::default() }
}

/// Time in seconds from now for which the revocation holds.
fn holds_for(made: &pb::Revocation) -> i64 {
    made.expire_time.expect("an end").seconds - seconds_from_now(0).seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_request_is_revoked_by_its_claims() {
    let (pair, stranger) = (Pair::new("k-1"), Pair::new("k-1"));
    let set = KeySet::new(&[&pair]);
    let service = serve(&set).await;
    let mut client = service.client.clone();
    let exp = claims("").expire_time.unwrap().seconds;
    let made = client.revoke_token(by_token(&pair.sign(&json!({})))).await.expect("it is revoked").into_inner();
    assert!(is_revoked(&service).await);
    assert!(holds_for(&made) <= 600 + 60, "its `exp` is proven, so that it is held no longer: {made:?}");
    // Signed by an unknown key: its names are believed, its expiry is not.
    let forged = stranger.sign(&json!({"jti": "j-2", "exp": exp - 500}));
    let made = client.revoke_token(by_token(&forged)).await.expect("it is revoked").into_inner();
    assert!(holds_for(&made) > 24 * 3600, "{made:?}");
    assert_eq!(service.rule(claims("j-2")).await, pb::Rule::Token, "also with the `exp` that it really has");
    let old = pair.sign(&json!({"jti": "j-3", "exp": exp - 3600}));
    let made = client.revoke_token(by_token(&old)).await.expect("no error").into_inner();
    assert_eq!(made.state(), pb::revocation::State::AlreadyExpired);
    // A batch, each item by its own token.
    let one = |token: &str| pb::RevokeRequest {
        target: Some(pb::revoke_request::Target::Token(pb::RevokeTokenRequest {
            parent: String::new(),
            ..by_token(token)
        })),
    };
    let requests = vec![one(&pair.sign(&json!({"jti": "j-4"}))), one(&stranger.sign(&json!({"jti": "j-5"})))];
    let batch = pb::BatchRevokeRequest { parent: PARENT.into(), requests };
    let results = client.batch_revoke(batch).await.expect("both are made").into_inner().results;
    let held: Vec<_> = results.iter().map(|result| holds_for(result.revocation.as_ref().unwrap()) > 3600).collect();
    assert_eq!(held, [false, true]);
    for jti in ["j-4", "j-5"] {
        assert_eq!(service.rule(claims(jti)).await, pb::Rule::Token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_beside_a_token_must_agree_with_it() {
    let pair = Pair::new("k-1");
    let set = KeySet::new(&[&pair]);
    let service = serve(&set).await;
    let exp = seconds_from_now(600);
    let good = pair.sign(&json!({"exp": exp.seconds}));
    let same =
        pb::RevokeTokenRequest { issuer: ISSUER.into(), jti: "j-1".into(), expire_time: Some(exp), ..by_token(&good) };
    service.client.clone().revoke_token(same.clone()).await.expect("it is revoked");
    let other = seconds_from_now(60);
    let rejected = async |request| violated(&service.client.clone().revoke_token(request).await.unwrap_err());
    let differs = pb::RevokeTokenRequest { issuer: "i".into(), jti: "j".into(), expire_time: Some(other), ..same };
    assert_eq!(rejected(differs).await, ["issuer", "jti", "expire_time"]);
    for token in
        ["a.b.c", "x", &pair.sign(&json!({"tenant": "other"})), &pair.sign(&json!({"exp": other.seconds + 90_000}))]
    {
        assert_eq!(rejected(by_token(token)).await, ["token"], "{token}");
    }
    assert_eq!(rejected(by_token(&pair.sign(&json!({"iss": null, "jti": ""})))).await, ["token", "token"]);
}

/// Clocks that are a day ahead must not make every token look expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_hinders_no_revocation() {
    let pair = Pair::new("k-1");
    let set = KeySet::new(&[&pair]);
    for wall in [(|| Millis(now().0 + 90_000_000)) as fn() -> Millis, || Millis(now().0 - 90_000_000)] {
        let settings = [("KEYPLANE_REVOCATION_JWKS", &*set.path())];
        let (app, url) = (keyplane_testkit::app(), keyplane_testkit::valkey().url());
        let service = support::start(&app, &url, &settings, |config| config.store.wall = wall).await;
        revoke(&service, &pair.sign(&json!({}))).await.expect("200");
        assert!(is_revoked(&service).await, "the store's time counts");
        service.revoke_token("j-2").await;
        assert_eq!(service.rule(claims("j-2")).await, pb::Rule::Token);
        assert_eq!(service.rule(claims("good")).await, pb::Rule::Unspecified);
    }
}

fn now() -> Millis {
    let now = seconds_from_now(0);
    Millis(now.seconds * 1000)
}

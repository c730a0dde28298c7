//! Rate limits, through a real Envoy with the shipped configuration: exact, reported to the client, changed at run
//! time, and never bypassed in an outage.

mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use keyplane_engine::{Process, Spec};
use keyplane_local::{Grant, Mesh};
use keyplane_testkit::eventually;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use support::{grpc, http, reason};
use tonic::Code;
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(30);
const LIST: &str = "/keyplane.session.v1.SessionService/ListSessions";
/// Policies of the test; the readiness requests of the mesh do not count.
const POLICIES: &str = "
policies:
  - id: user-api
    domain: keyplane
    entries: [tenant, user]
    limit: {amount: 10, per: 1h}
    tenants: {demo: unlimited, roomy: unlimited}
  - id: tokens
    entries: [tenant, user]
    limit: {amount: 100, per: 1h}
    plans: {gold: {amount: 1000, per: 1h}}
";
/// Policies of three tenants with three outage modes.
const OUTAGES: &str = "
policies:
  - {id: shut, domain: keyplane, entries: [{key: tenant, value: shut}], limit: {amount: 1000, per: 1s}, outage: closed}
  - {id: wide, domain: keyplane, entries: [{key: tenant, value: wide}], limit: {amount: 1000, per: 1s}, outage: open}
  - {id: alone, domain: keyplane, entries: [{key: tenant, value: alone}], limit: {amount: 3, per: 1h}, outage: local}
";

/// Mesh of this test binary, for tests without faults.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(start("ratelimit", POLICIES));
        std::thread::spawn(start).join().unwrap()
    })
}

async fn start(folder: &str, policies: &str) -> Mesh {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    Mesh::start(support::with_policies(support::options(folder), policies)).await.unwrap()
}

/// Caller with a token.
struct User<'a> {
    mesh: &'a Mesh,
    grant: Grant,
    token: String,
    http: Client,
}

// === impl User ===

impl<'a> User<'a> {
    fn of(mesh: &'a Mesh, tenant: &str, user: &str) -> User<'a> {
        let grant = Grant::new(tenant, user);
        let token = mesh.issuer().mint(&grant).unwrap();
        let http = http(&token);
        User { mesh, grant, token, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.mesh.endpoints().gateway.as_ref().unwrap())
    }

    fn sessions(&self) -> String {
        self.url(&format!("/v1/tenants/{}/users/{}/sessions", self.grant.tenant, self.grant.user))
    }

    async fn read(&self) -> Response {
        self.http.get(self.sessions()).send().await.unwrap()
    }

    async fn status(&self) -> u16 {
        self.read().await.status().as_u16()
    }

    /// Reads, and expects `left` further requests.
    async fn reads_with(&self, left: u32) {
        let response = self.read().await;
        assert_eq!((response.status().as_u16(), header(&response, "x-ratelimit-remaining")), (200, left.to_string()));
    }

    async fn grpc(&self) -> Result<(), tonic::Status> {
        let channel = Endpoint::from_shared(self.url("")).unwrap().connect_lazy();
        grpc(&channel, LIST, Some(&self.token)).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.clone(), self.url(path));
        let request = if method == Method::GET || method == Method::DELETE { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Sends a POST of JSON, and expects success.
    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn limits(&self, verb: &str, body: Value) -> Value {
        self.post(&format!("/v1/tenants/{}/rateLimits:{verb}", self.grant.tenant), body).await
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap().to_owned()
}

/// Status and reason of an error.
async fn reason_of(user: &User<'_>) -> (u16, String) {
    let response = user.read().await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, if status == 200 { String::new() } else { reason(&body).1.to_owned() })
}

// === exactness ===

#[tokio::test]
async fn eleventh_of_ten_requests_is_rejected_and_other_callers_are_not() {
    let mesh = mesh();
    let user = User::of(mesh, "acme", "eleven");
    for left in (0..10).rev() {
        user.reads_with(left).await;
    }
    let response = user.read().await;
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "x-ratelimit-limit"), "10, 10;w=3600");
    assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
    assert_eq!(header(&response, "ratelimit-policy"), r#""user-api";q=10;w=3600"#);
    let wait = header(&response, "retry-after");
    assert!((300..=360).contains(&wait.parse().unwrap()), "one of ten in an hour leaks in 6 min: {wait}");
    assert_eq!(header(&response, "x-ratelimit-reset"), wait);
    assert_eq!(header(&response, "ratelimit"), format!(r#""user-api";r=0;t={wait}"#));
    let error: Value = response.json().await.unwrap();
    assert_eq!(reason(&error), (8, "RATE_LIMITED"), "{error}");
    assert_eq!(error["details"][0]["metadata"], json!({"policy": "user-api", "rule": "default"}));

    let status = user.grpc().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.metadata().contains_key("retry-after"), "{status:?}");
    let watch = user.http.get(format!("{}:watch", user.sessions())).header("accept", "text/event-stream");
    let watch = watch.send().await.unwrap();
    assert_eq!(watch.status(), 200, "an EventSource would give up");
    assert!(watch.text().await.unwrap().starts_with("retry: 3"));

    User::of(mesh, "acme", "twelve").reads_with(9).await;
    User::of(mesh, "other", "eleven").reads_with(9).await;
    assert_eq!(User::of(mesh, "roomy", "eleven").status().await, 200);
    // gRPC calls count too.
    User::of(mesh, "acme", "twelve").grpc().await.ok();
    User::of(mesh, "acme", "twelve").reads_with(7).await;
}

#[tokio::test]
async fn revoked_token_charges_nothing() {
    let mesh = mesh();
    let user = User::of(mesh, "acme", "revoked");
    user.reads_with(9).await;
    let revoke = Client::new().post(user.url("/v1/tenants/acme/oauth2/revoke"));
    assert_eq!(revoke.json(&json!({"token": user.token})).send().await.unwrap().status(), 200);
    eventually("the token is rejected", PATIENCE, async || user.status().await == 401).await;
    let again = User::of(mesh, "acme", "revoked");
    let left: u32 = header(&again.read().await, "x-ratelimit-remaining").parse().unwrap();
    for _ in 0..20 {
        assert_eq!(user.status().await, 401);
    }
    again.reads_with(left - 1).await;
}

// === JSON ===

#[tokio::test]
async fn json_callers_charge_settle_and_explain_limits() {
    let ada = User::of(mesh(), "roomy", "ada");
    let of_ada = json!({"user": "ada", "limits": ["tokens"]});
    let with = |field: &str, value: Value| {
        let mut body = of_ada.clone();
        body[field] = value;
        body
    };
    let acquired = ada.limits("acquire", with("cost", json!(30))).await;
    assert_eq!((&acquired["admitted"], &acquired["source"]), (&json!(true), &json!("SOURCE_STORE")), "{acquired}");
    assert_eq!((&acquired["replayed"], &acquired["charge"]), (&json!(false), &json!("")), "{acquired}");
    let limit = &acquired["limits"][0];
    let expected = json!({"policy": "tokens", "verdict": "VERDICT_ADMITTED", "amount": "100", "period": "3600s",
        "burst": "100", "remaining": "70", "resetAfter": limit["resetAfter"], "rule": "default"});
    assert_eq!(limit, &expected, "numbers of 64 bits are texts");

    let reserved = ada.limits("reserve", with("estimate", json!("50"))).await;
    assert_eq!(
        (&reserved["admitted"], &reserved["limits"][0]["remaining"]),
        (&json!(true), &json!("20")),
        "{reserved}"
    );
    let rejected = ada.limits("acquire", with("cost", json!(30))).await;
    assert_eq!((&rejected["admitted"], &rejected["limits"][0]["verdict"]), (&json!(false), &json!("VERDICT_DENIED")));
    assert!(rejected["retryAfter"].as_str().unwrap().ends_with('s'), "{rejected}");
    let settled = ada.limits("commit", json!({"reservation": reserved["reservation"], "cost": 10})).await;
    assert_eq!((&settled["charged"], &settled["limits"][0]["remaining"]), (&json!("10"), &json!("60")), "{settled}");
    let peeked = ada.limits("peek", with("cost", json!(60))).await;
    assert_eq!(peeked["wouldAdmit"], true, "{peeked}");
    let explained = ada.limits("explain", of_ada.clone()).await;
    let why = &explained["limits"][0];
    assert_eq!((&why["policy"]["name"], &why["rule"]), (&json!("policies/tokens"), &json!("default")), "{explained}");
    assert_eq!((&why["policy"]["origin"], &why["state"]["remaining"]), (&json!("ORIGIN_FILE"), &json!("60")));
    assert!(why["key"].as_str().unwrap().contains("roomy"), "{explained}");

    let charge = ada.limits("acquire", with("requestId", json!("r-1"))).await["charge"].clone();
    assert_eq!(ada.limits("refund", json!({"charge": charge, "cost": 1})).await["charged"], "0");
    let items = json!({"requests": [{"user": "ada", "limits": ["tokens"]}, {"user": "ada", "limits": ["none"]}]});
    let batch = ada.limits("batchAcquire", items).await;
    assert_eq!(batch["results"][0]["response"]["admitted"], true, "{batch}");
    assert_eq!(batch["results"][1]["error"]["reason"], "POLICY_NOT_FOUND", "{batch}");
    let reset =
        json!({"user": "ada", "limits": ["tokens"], "cause": {"initiator": "support", "description": "a test"}});
    assert_eq!(ada.limits("reset", reset).await["resetCount"], 1);
    let path = "/v1/tenants/roomy/rateLimits/auditEntries?pageSize=5";
    let (status, audit) = ada.call(Method::GET, path, Value::Null).await;
    assert_eq!(
        (status, &audit["auditEntries"][0]["action"]),
        (200, &json!("keyplane.ratelimit.v1.RateLimitService/Reset")),
        "{audit}"
    );

    let (status, error) =
        ada.call(Method::POST, "/v1/tenants/roomy/rateLimits:commit", json!({"reservation": "x", "cost": 1})).await;
    assert!(status == 404 || status == 400, "{status} {error}");
    assert_eq!(reason(&error).0, if status == 404 { 5 } else { 3 });
}

#[tokio::test]
async fn json_callers_manage_plans_and_policies() {
    let admin = User::of(mesh(), "roomy", "admin");
    let plan = "/v1/tenants/planned/plan";
    for (method, path, wanted) in
        [(Method::PATCH, plan.to_owned(), "gold"), (Method::POST, format!("{plan}:update"), "")]
    {
        let path = format!("{path}?cause.initiator=sales");
        let (status, answer) = admin.call(method, &path, json!({"plan": wanted})).await;
        assert_eq!((status, &answer["plan"]), (200, &json!(wanted)), "{path}: {answer}");
        let (status, answer) = admin.call(Method::GET, plan, Value::Null).await;
        assert_eq!((status, &answer["name"], &answer["plan"]), (200, &json!(&plan[4..]), &json!(wanted)), "{answer}");
    }

    let limit = |amount: u32| json!({"amount": amount, "period": "60s"});
    let made = json!({"entries": [{"key": "route"}], "domain": "own", "limit": limit(5)});
    // An id may hold a colon.
    let path = "/v1/policies/urn:chat";
    let made = admin.post("/v1/policies?policyId=urn:chat", made).await;
    assert_eq!((&made["name"], &made["origin"]), (&json!("policies/urn:chat"), &json!("ORIGIN_API")), "{made}");
    let (status, read) = admin.call(Method::GET, path, Value::Null).await;
    assert_eq!((status, &read["limit"]["amount"]), (200, &json!("5")), "{read}");
    for (method, path, amount) in [(Method::PATCH, path.to_owned(), 6), (Method::POST, format!("{path}:update"), 7)] {
        let path = format!("{path}?updateMask=limit");
        let (status, changed) = admin.call(method, &path, json!({"limit": limit(amount)})).await;
        assert_eq!((status, &changed["limit"]["amount"]), (200, &json!(amount.to_string())), "{path}: {changed}");
    }
    let (status, error) = admin.call(Method::PATCH, path, json!({"limit": limit(8), "etag": read["etag"]})).await;
    assert_eq!((status, reason(&error)), (409, (10, "STALE_WRITE")), "{error}");
    let (status, list) = admin.call(Method::GET, "/v1/policies?pageSize=100", Value::Null).await;
    let names: Vec<_> = list["policies"].as_array().unwrap().iter().map(|policy| policy["name"].as_str()).collect();
    assert!(status == 200 && names.contains(&Some("policies/urn:chat")), "{list}");
    assert_eq!(admin.call(Method::DELETE, path, Value::Null).await, (200, json!({})));
    let (status, error) = admin.call(Method::GET, path, Value::Null).await;
    assert_eq!((status, reason(&error)), (404, (5, "POLICY_NOT_FOUND")), "{error}");
}

// === changes ===

#[tokio::test]
async fn changed_policies_apply_soon() {
    let mesh = start("ratelimit-changes", POLICIES).await;
    let user = User::of(&mesh, "acme", "ada");
    user.reads_with(9).await;
    let edit = |text: &str| std::fs::write(&mesh.endpoints().policies, text).unwrap();
    let limit = async |goal: &str, expected: &str| {
        eventually(goal, PATIENCE, async || {
            let limit = header(&user.read().await, "x-ratelimit-limit");
            if limit == expected { Ok(()) } else { Err(limit) }
        })
        .await;
    };
    edit(&POLICIES.replace("{amount: 10,", "{amount: 1000,"));
    limit("the file's new limit", "1000, 1000;w=3600").await;
    // Consumption survives a change.
    let left: u32 = header(&user.read().await, "x-ratelimit-remaining").parse().unwrap();
    assert!(left < 998, "{left}");
    edit("policies: [{id: broken}]");
    let limiter = mesh.service("rate-limiting");
    eventually("the mistake is logged", PATIENCE, async || limiter.log().contains("file rejected")).await;
    limit("the one before stays", "1000, 1000;w=3600").await;

    edit(&POLICIES.replace("{demo: unlimited", "{acme: block, demo: unlimited"));
    let blocked = eventually("nothing passes", PATIENCE, async || {
        let response = user.read().await;
        if response.status() == 429 { Ok(response) } else { Err(response) }
    })
    .await;
    assert!(!blocked.headers().contains_key("retry-after"), "{blocked:?}");
    edit(&POLICIES.replace("{demo: unlimited", "{acme: unlimited, demo: unlimited"));
    eventually("everything passes", PATIENCE, async || user.status().await == 200).await;

    let admin = User::of(&mesh, "roomy", "admin");
    // A policy without a domain applies to calls that name it, never to the gateway.
    let mut policy = json!({"entries": [{"key": "tenant", "value": "acme"}], "limit": {"mode": "MODE_BLOCK"}});
    admin.post("/v1/policies?policyId=named", policy.clone()).await;
    let named = json!({"limits": ["named"]});
    eventually("it applies to calls that name it", PATIENCE, async || {
        let answer = user.post("/v1/tenants/acme/rateLimits:acquire", named.clone()).await;
        if answer["admitted"] == false { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(user.status().await, 200, "the gateway does not ask it");
    policy["domain"] = "keyplane".into();
    policy["limit"] = json!({"amount": 2, "period": "3600s"});
    admin.post("/v1/policies?policyId=tight", policy).await;
    let rejected = eventually("the new policy applies", PATIENCE, async || {
        let response = user.read().await;
        if response.status() == 429 { Ok(response) } else { Err(response) }
    })
    .await;
    let error: Value = rejected.json().await.unwrap();
    assert_eq!(error["details"][0]["metadata"]["policy"], "tight", "{error}");
    assert_eq!(admin.call(Method::DELETE, "/v1/policies/tight", Value::Null).await.0, 200);
    eventually("it no longer applies", PATIENCE, async || user.status().await == 200).await;
    mesh.stop().await.unwrap();
}

// === outages ===

/// Instance that replaces the mesh's.
fn successor(mesh: &Mesh) -> Process {
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .name("rate-limiting")
        .env("KEYPLANE_LOCAL_SERVICE", "rate-limiting")
        .env("KEYPLANE_GRPC_ADDR", &mesh.endpoints().service("rate-limiting").grpc)
        .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
        .env("KEYPLANE_RATELIMIT_POLICIES", &mesh.endpoints().policies)
        .env("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "400ms")
        .env("KEYPLANE_KV_URL", &mesh.endpoints().valkey);
    Process::spawn(spec).unwrap()
}

#[tokio::test]
async fn outage_of_the_store_follows_policies_and_outage_of_the_service_blocks() {
    let mesh = start("ratelimit-outage", OUTAGES).await;
    let [shut, wide, alone] = ["shut", "wide", "alone"].map(|tenant| User::of(&mesh, tenant, "ada"));
    let all_is_well = async || {
        for user in [&shut, &wide] {
            eventually("requests pass", PATIENCE, async || match reason_of(user).await {
                (200, _) => Ok(()),
                other => Err(other),
            })
            .await;
        }
    };
    all_is_well().await;
    mesh.valkey().unwrap().kill().unwrap();
    let counted = (503, "RATE_LIMITER_UNAVAILABLE".to_owned());
    let passed = (503, "STORE_UNAVAILABLE".to_owned());
    for _ in 0..3 {
        assert_eq!(reason_of(&shut).await, counted, "closed");
        assert_eq!(shut.grpc().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(reason_of(&wide).await, passed, "open: the session service's own answer");
        assert_eq!(reason_of(&alone).await, passed, "local: within the limit");
    }
    assert_eq!(reason_of(&alone).await, (429, "RATE_LIMITED".to_owned()), "local: the fourth of three");
    mesh.valkey().unwrap().restart().unwrap();
    all_is_well().await;

    mesh.service("rate-limiting").kill().unwrap();
    for user in [&shut, &wide, &alone] {
        assert_eq!(reason_of(user).await, counted, "without the service there is no policy");
        assert_eq!(user.grpc().await.unwrap_err().code(), Code::Unavailable);
    }
    let unknown = User::of(&mesh, "of-no-policy", "ada");
    assert_eq!(reason_of(&unknown).await, counted);
    let again = successor(&mesh);
    all_is_well().await;
    assert_eq!(again.exit(), None, "{}", again.log());
    assert_eq!(mesh.gateway().unwrap().restarts(), 0, "the gateway ended");
    mesh.stop().await.unwrap();
}

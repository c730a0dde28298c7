//! Calls of the gateway to rate-limiting, and its reply to each answer, with a stand-in. (With the service:
//! ratelimit.rs.)

mod support;

use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use support::gate::{Gate, SESSIONS, commented};
use support::peer::{Answer, Limit, LimitCall};
use support::{grpc, http, reason};
use tonic::Code;

const LIST: &str = "/keyplane.session.v1.SessionService/ListSessions";
const REVOKE: &str = "/v1/tenants/acme/oauth2/revoke";
const NUMBERS: [(&str, &str); 5] = [
    ("x-ratelimit-limit", "200, 100;w=1"),
    ("x-ratelimit-remaining", "0"),
    ("x-ratelimit-reset", "7"),
    ("ratelimit", r#""user-api";r=0;t=7"#),
    ("ratelimit-policy", r#""user-api";q=100;w=1"#),
];

/// Descriptors of each call, as comma-separated `key=value`.
fn descriptors(calls: &[LimitCall]) -> Vec<Vec<String>> {
    let entries = |descriptor: &envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor| {
        let entries = descriptor.entries.iter().map(|entry| format!("{}={}", entry.key, entry.value));
        entries.collect::<Vec<_>>().join(",")
    };
    calls.iter().map(|(request, _)| request.descriptors.iter().map(entries).collect()).collect()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn watch(gate: &Gate) -> (u16, String) {
    let request = http(&gate.token()).get(format!("{}{SESSIONS}:watch", gate.url));
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn limits_count_the_tokens_tenant_and_user_whatever_the_caller_sends() {
    let gate = Gate::start("limits/calls");
    let client = http(&gate.token());
    // Neither the path nor a header changes them.
    let request = client.get(format!("{}/v1/tenants/other/users/else/sessions", gate.url));
    request.header("x-request-id", "mine").header("x-forwarded-for", "192.0.2.7").send().await.unwrap();
    let calls = gate.peer.take_limit_calls();
    assert_eq!(descriptors(&calls), [["tenant=acme", "tenant=acme,user=u-42"]]);
    let (request, headers) = &calls[0];
    assert_eq!((request.domain.as_str(), request.hits_addend), ("keyplane", 0), "one hit: Envoy leaves that out");
    assert!(!headers.contains_key("x-request-id"), "one id would be one charge: {headers:?}");
    grpc(&gate.channel(), LIST, Some(&gate.token())).await.ok();
    assert_eq!(descriptors(&gate.peer.take_limit_calls()), [["tenant=acme", "tenant=acme,user=u-42"]]);

    // Requests without a token count by address.
    let request = Client::new().post(format!("{}{REVOKE}", gate.url)).header("x-forwarded-for", "192.0.2.7");
    request.json(&json!({"token": "x"})).send().await.unwrap();
    let by_address = "route=oauth2-revoke,masked_remote_address=127.0.0.1/32";
    assert_eq!(descriptors(&gate.peer.take_limit_calls()), [[by_address]]);

    // Local answers and rejections do not count.
    for path in ["/openapi.json", "/healthz", "/none", SESSIONS] {
        Client::new().get(format!("{}{path}", gate.url)).send().await.unwrap();
    }
    let preflight = Client::new().request(Method::OPTIONS, format!("{}{SESSIONS}", gate.url));
    let preflight = preflight.header("origin", "http://localhost:4200");
    preflight.header("access-control-request-method", "PATCH").send().await.unwrap();
    gate.peer.answer(Answer::Revoked);
    assert_eq!(gate.get(SESSIONS, &client).await.status(), 401);
    assert_eq!(descriptors(&gate.peer.take_limit_calls()), Vec::<Vec<String>>::new());
}

/// Follows the comment beside the virtual host's limits.
#[tokio::test]
async fn route_can_have_an_additional_limit() {
    let route = "route: {cluster: session, timeout: 6s, retry_policy: *retry_what_was_never_sent}\n";
    let gate = Gate::start_with("limits/route", |config| {
        let pad = " ".repeat(24);
        let filter = commented(&config, "typed_per_filter_config:", 4, &pad);
        let limits = commented(&config, "rate_limits:", 2, "");
        let action = limits.trim_end().split_once("- ").unwrap().1;
        assert!(filter.contains("vh_rate_limits: INCLUDE") && config.contains(route), "{filter}");
        let own = route.replace("}\n", &format!(", rate_limits: [{{{action}}}]}}\n{filter}"));
        config.replacen(route, &own, 1)
    });
    support::http(&gate.token()).post(format!("{}{SESSIONS}", gate.url)).body("{}").send().await.unwrap();
    let mut calls = descriptors(&gate.peer.take_limit_calls());
    calls[0].sort();
    assert_eq!(calls, [["route=sessions,tenant=acme", "tenant=acme", "tenant=acme,user=u-42"]]);
}

#[tokio::test]
async fn admitted_request_gets_rate_limit_headers() {
    let gate = Gate::start("limits/within");
    let response = gate.get(SESSIONS, &http(&gate.token())).await;
    assert!(gate.passed());
    for (name, value) in NUMBERS {
        assert_eq!(header(&response, name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_429_and_says_when_to_come_again() {
    let gate = Gate::start("limits/over");
    let client = http(&gate.token());
    gate.peer.limit(Limit::Over);
    let response = gate.get(SESSIONS, &client).await;
    assert_eq!(response.status(), 429);
    for (name, value) in NUMBERS.into_iter().chain([
        ("retry-after", "7"),
        ("content-type", "application/json"),
        ("access-control-allow-origin", "http://localhost:4200"),
    ]) {
        assert_eq!(header(&response, name), Some(value), "{name}");
    }
    let error: Value = response.json().await.unwrap();
    assert_eq!(reason(&error), (8, "RATE_LIMITED"), "{error}");
    assert_eq!(error["message"], "too many requests: the limit user-api has room in 7 s; retry then");
    assert_eq!(error["details"][0]["metadata"], json!({"policy": "user-api", "rule": "default"}));
    let violation = &error["details"][1]["violations"][0];
    assert_eq!(violation["subject"], "policies/user-api", "{error}");
    let description = r#"limits: "user-api";q=100;w=1; now: "user-api";r=0;t=7"#;
    assert_eq!(violation["description"], description, "{error}");
    assert_eq!(error["details"][2]["retryDelay"], "7s", "{error}");

    let status = grpc(&gate.channel(), LIST, Some(&gate.token())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("the limit user-api is used up"), "{status:?}");
    assert_eq!(status.metadata().get("retry-after").unwrap(), "7");
    // An EventSource reconnects after a 200 only.
    assert_eq!(watch(&gate).await, (200, "retry: 7000\n\n".to_owned()));
    let response =
        Client::new().post(format!("{}{REVOKE}", gate.url)).json(&json!({"token": "x"})).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(!gate.passed());
}

#[tokio::test]
async fn blocked_tenant_gets_no_retry_after() {
    let gate = Gate::start("limits/blocked");
    gate.peer.limit(Limit::Blocked);
    let response = gate.get(SESSIONS, &http(&gate.token())).await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (429, None));
    let error: Value = response.json().await.unwrap();
    assert_eq!(reason(&error), (8, "RATE_LIMITED"), "{error}");
    assert_eq!(error["message"], "the limit user-api blocks this request; waiting does not help");
    assert!(!error.to_string().contains("RetryInfo"), "{error}");
    assert_eq!(watch(&gate).await.0, 429);
    assert!(!gate.passed());
}

#[tokio::test]
async fn missing_answer_is_503_and_is_retried_only_if_nothing_was_charged() {
    let gate = Gate::start("limits/no-answer");
    let client = http(&gate.token());
    for (limit, times) in [(Limit::Broken, 2), (Limit::Unknown, 1), (Limit::Silent, 1)] {
        gate.peer.limit(limit);
        gate.peer.take_limit_calls();
        let began = Instant::now();
        let response = gate.get(SESSIONS, &client).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{limit:?}: {:?}", began.elapsed());
        assert_eq!(response.status(), 503, "{limit:?}");
        assert_eq!(header(&response, "access-control-allow-origin"), Some("http://localhost:4200"));
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (14, "RATE_LIMITER_UNAVAILABLE"), "{limit:?}: {error}");
        assert_eq!(gate.peer.take_limit_calls().len(), times, "{limit:?}: a second call may charge twice");
        let status = grpc(&gate.channel(), LIST, Some(&gate.token())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{limit:?}: {status:?}");
        assert_eq!(watch(&gate).await, (200, "retry: 1000\n\n".to_owned()), "{limit:?}");
    }
    assert!(!gate.passed());
    gate.peer.limit(Limit::Pass);
    gate.get(SESSIONS, &client).await;
    assert!(gate.passed());
}

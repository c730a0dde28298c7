//! CORS, for pages of other origins.

use std::collections::BTreeSet;

use keyplane_contracts::http::bindings;

use crate::gate;

#[tokio::test]
async fn gateway_answers_preflights() {
    let url = &gate().url;
    let http = reqwest::Client::new();
    for (origin, allowed) in [("http://localhost:4200", true), ("http://localhost:4200.evil.example", false)] {
        let response = http
            .request(reqwest::Method::OPTIONS, format!("{url}/v1/tenants/acme/users/u/sessions"))
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{origin}");
        let answer = response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(answer, allowed.then_some(origin));
        if allowed {
            let methods = response.headers()["access-control-allow-methods"].to_str().unwrap();
            let methods: BTreeSet<_> = methods.split(", ").collect();
            assert_eq!(methods, bindings().iter().map(|binding| binding.verb).collect(), "the methods of the routes");
        }
    }
}

#[tokio::test]
async fn page_of_an_allowed_origin_can_read_errors() {
    let url = &gate().url;
    let request = reqwest::Client::new().get(format!("{url}/v1/tenants/acme/users/u/sessions"));
    let response = request.header("origin", "http://localhost:4200").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4200");
    assert_eq!(response.headers()["access-control-allow-credentials"], "true");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    let exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
    let limits = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "ratelimit-policy"];
    for header in ["www-authenticate", "retry-after", "x-request-id", "grpc-status"].iter().chain(&limits) {
        assert!(exposed.contains(header), "{header} is not among {exposed:?}");
    }
    assert!(response.headers().contains_key("x-request-id"));
    // A cache must not serve one origin's answer to another.
    assert_eq!(response.headers()["vary"], "origin");
    assert_eq!(reqwest::get(format!("{url}/v1/policies")).await.unwrap().headers()["vary"], "origin");
}

/// Headers without an effect must not be allowed: pages would send them in vain.
#[tokio::test]
async fn allowed_headers_are_those_with_an_effect() {
    let response = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, format!("{}/v1/tenants/acme/users/u/sessions", gate().url))
        .header("origin", "http://localhost:4200")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    assert_eq!(allowed, "authorization, content-type, if-match, last-event-id, grpc-timeout, traceparent, tracestate");
}

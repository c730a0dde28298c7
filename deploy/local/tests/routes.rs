//! Routes of the shipped configuration, without services behind it: each RPC has a route, and no route skips a filter.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use keyplane_contracts::http::{Binding, bindings};
use keyplane_engine::{Envoy, Toolbox, free_port};
use keyplane_local::{Gateway, Issuer};
use serde_json::Value;
use support::peer::{Answer, Peer};
use support::table::{cluster, matching, path, rpcs};
use support::{grpc, http, reason, token};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Gateway without services behind it.
struct Gate {
    envoy: Envoy,
    url: String,
    token: String,
}

/// Gateway of this test binary; every token is valid, no limit is reached.
fn gate() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate::start("running", peer(), peer()))
}

/// Gateway that can't check tokens.
fn blind() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate::start("blind", nowhere(), peer()))
}

/// Gateway that can't check limits.
fn uncounted() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate::start("uncounted", peer(), nowhere()))
}

/// Address of a stand-in that admits everything.
fn peer() -> SocketAddr {
    Peer::start(Answer::Pass).address
}

fn nowhere() -> SocketAddr {
    local(free_port().unwrap())
}

/// Gateway on a free port, whose session service is missing.
fn gateway(
    folder: &str,
    authorization: SocketAddr,
    limits: SocketAddr,
    otlp_endpoint: Option<&str>,
) -> (Gateway, Issuer) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("routes").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let issuer = Issuer::create(&folder).unwrap();
    let gateway = Gateway {
        listen: local(0),
        admin: local(0),
        services: vec![("session", nowhere()), ("auth-revocation", authorization), ("rate-limiting", limits)],
        folder,
        otlp_endpoint: otlp_endpoint.map(str::to_owned),
        cors_origins: keyplane_local::Options::LOCAL_ORIGINS.to_owned(),
        keys: issuer.keys().to_owned(),
        guard: support::guard(),
    };
    (gateway, issuer)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

// === impl Gate ===

impl Gate {
    fn start(folder: &str, authorization: SocketAddr, limits: SocketAddr) -> Gate {
        let (gateway, issuer) = gateway(folder, authorization, limits, None);
        let envoy = Envoy::start(&Toolbox::find(), &gateway.prepare().unwrap()).unwrap();
        let url = format!("http://{}", envoy.listener("gateway").unwrap());
        Gate { envoy, url, token: token(&issuer, "u-42") }
    }

    /// Sends a request for the binding, with an empty body if it takes one.
    async fn call(&self, binding: &Binding, client: &reqwest::Client) -> reqwest::Response {
        let verb = reqwest::Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let mut request = client.request(verb, format!("{}{}", self.url, path(binding)));
        if !binding.body.is_empty() {
            request = request.header("content-type", "application/json").body("{}");
        }
        request.send().await.unwrap()
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).unwrap().connect_lazy()
    }
}

// === routes as Envoy parsed them ===

fn routes() -> Vec<Value> {
    let dump: Value = serde_json::from_str(&gate().envoy.admin_get("/config_dump").unwrap()).unwrap();
    let configs = dump["configs"].as_array().unwrap();
    let routes = configs.iter().find(|config| config["static_route_configs"].is_array()).unwrap();
    let hosts = &routes["static_route_configs"][0]["route_config"]["virtual_hosts"];
    hosts[0]["routes"].as_array().unwrap().clone()
}

/// Returns whether no timeout of the connection manager applies.
fn endless(route: &Value) -> bool {
    let route = &route["route"];
    let times = [&route["timeout"], &route["idle_timeout"], &route["max_stream_duration"]["max_stream_duration"]];
    let endless = times.iter().filter(|time| **time == "0s").count();
    assert!([0, times.len()].contains(&endless), "either all or none: {route}");
    endless > 0
}

// === tests ===

#[test]
fn envoy_accepts_the_configuration_with_and_without_a_collector() {
    let toolbox = Toolbox::find();
    for otlp in [None, Some("http://127.0.0.1:4317")] {
        let (gateway, _issuer) = gateway("validated", local(0), local(0), otlp);
        Envoy::validate(&toolbox, &gateway.prepare().unwrap()).unwrap();
    }
}

#[test]
fn http_rule_has_one_route_to_its_service() {
    let routes = routes();
    for binding in bindings() {
        let found = matching(&routes, &path(&binding), &[(":method", binding.verb)]);
        let names: Vec<_> = found.iter().map(|route| route["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 1, "{} {}: {names:?}", binding.verb, binding.path);
        assert_eq!(found[0]["route"]["cluster"], cluster(&binding), "{} {}", binding.verb, binding.path);
        let streams = binding.method.is_server_streaming();
        assert_eq!(endless(found[0]), streams, "{} {}", binding.verb, binding.path);
    }
}

#[test]
fn rpc_has_a_route_to_its_service() {
    let routes = routes();
    let headers = [(":method", "POST"), ("content-type", "application/grpc+proto")];
    for binding in bindings() {
        for method in binding.method.parent_service().methods() {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let found = matching(&routes, &path, &headers);
            assert_eq!(found[0]["route"]["cluster"], cluster(&binding), "{path}");
            let streams = method.is_server_streaming() || method.is_client_streaming();
            assert_eq!(endless(found[0]), streams, "{path}");
        }
    }
}

#[test]
fn only_reads_are_retried_after_the_service_may_have_seen_them() {
    for route in routes().iter().filter(|route| route["route"]["retry_policy"].is_object()) {
        let retry_on = route["route"]["retry_policy"]["retry_on"].as_str().unwrap();
        let unsafe_for_writes =
            retry_on.split(',').any(|on| !["connect-failure", "refused-stream", "reset-before-request"].contains(&on));
        let reads = route["name"].as_str().unwrap().ends_with(".read");
        assert_eq!(unsafe_for_writes, reads, "{}: {retry_on}", route["name"]);
    }
}

/// Lists the routes without a token; every other route requires one.
#[test]
fn routes_without_a_token_are_three() {
    let mut open = Vec::new();
    for route in routes() {
        let name = route["name"].as_str().unwrap().to_owned();
        let filter = |name: &str| route["typed_per_filter_config"][format!("envoy.filters.http.{name}")].clone();
        let (token, check, limit) = (filter("jwt_authn"), filter("ext_authz"), filter("ratelimit"));
        let leads_nowhere = route["direct_response"].is_object();
        assert_eq!(limit["disabled"] == true, leads_nowhere, "{name}: each route to a service is limited");
        assert_eq!(token["disabled"], check["disabled"], "{name}: a required token must be checked");
        if token["disabled"] == true {
            let own = route["route"]["rate_limits"].is_array();
            assert!(own || leads_nowhere, "{name}: without a token there is no tenant to count for");
            open.push(name);
        } else if token["requirement_name"] == "header_or_cookie" {
            let methods = route["match"]["headers"].as_array().unwrap().iter();
            let read = methods.clone().any(|rule| rule["name"] == ":method" && rule["string_match"]["exact"] == "GET");
            assert!(read, "{name}: a cookie does for reading only: {methods:?}");
        } else {
            assert!(token.is_null() && check.is_null(), "{name}: {token} {check}");
        }
    }
    // Answers for a wrong method.
    open.retain(|name| !name.starts_with("not-allowed."));
    open.sort();
    assert_eq!(open, ["none", "openapi", "revocation.oauth2"]);
}

#[tokio::test]
async fn request_without_a_token_passes_no_route() {
    let gate = gate();
    let http = reqwest::Client::new();
    for binding in bindings().iter().filter(|binding| binding.needs_token()) {
        let response = gate.call(binding, &http).await;
        assert_eq!(response.status(), 401, "{} {}", binding.verb, binding.path);
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (16, "UNAUTHENTICATED"), "{} {}", binding.verb, binding.path);
    }
    for path in rpcs() {
        let status = grpc(&gate.channel(), &path, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
    }
}

/// Error of OAuth's route, the only service route without a token.
const OAUTH_UNAVAILABLE: &str = "temporarily_unavailable";

/// Requests must not pass because auth-revocation is unavailable.
#[tokio::test]
async fn outage_of_auth_revocation_passes_no_route() {
    let gate = blind();
    let http = http(&gate.token);
    for binding in bindings() {
        let response = gate.call(&binding, &http).await;
        assert_eq!(response.status(), 503, "{} {}", binding.verb, binding.path);
        let error: Value = response.json().await.unwrap();
        if binding.needs_token() {
            assert_eq!(reason(&error), (14, "REVOCATION_UNAVAILABLE"), "{} {}", binding.verb, binding.path);
        } else {
            assert_eq!(error["error"], OAUTH_UNAVAILABLE, "{} {}: {error}", binding.verb, binding.path);
        }
    }
    for path in rpcs() {
        let status = grpc(&gate.channel(), &path, Some(&gate.token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{path}: {status:?}");
    }
    // The check was retried, since another instance may answer.
    let retries = gate.envoy.admin_get("/stats?filter=cluster.authz.upstream_rq_retry$").unwrap();
    let retries: u64 = retries.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(retries > 0, "no check was repeated");
}

/// Requests must not pass because rate-limiting is unavailable.
#[tokio::test]
async fn outage_of_rate_limiting_passes_no_route() {
    let gate = uncounted();
    let http = http(&gate.token);
    for binding in bindings() {
        let response = gate.call(&binding, &http).await;
        assert_eq!(response.status(), 503, "{} {}", binding.verb, binding.path);
        let error: Value = response.json().await.unwrap();
        if !binding.needs_token() {
            assert_eq!(error["error"], OAUTH_UNAVAILABLE, "{} {}: {error}", binding.verb, binding.path);
            continue;
        }
        assert_eq!(reason(&error), (14, "RATE_LIMITER_UNAVAILABLE"), "{} {}", binding.verb, binding.path);
        assert_eq!(error["details"][1]["retryDelay"], "1s", "{error}");
    }
    for path in rpcs() {
        let status = grpc(&gate.channel(), &path, Some(&gate.token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{path}: {status:?}");
        assert!(status.message().contains("limits"), "{path}: {status:?}");
    }
}

/// RPCs for Envoy are not exposed.
#[tokio::test]
async fn filters_rpcs_are_not_exposed() {
    let gate = gate();
    for path in
        ["/envoy.service.auth.v3.Authorization/Check", "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"]
    {
        let status = grpc(&gate.channel(), path, Some(&gate.token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
}

#[tokio::test]
async fn json_route_without_its_service_is_503_in_the_error_shape() {
    let gate = gate();
    let http = http(&gate.token);
    for binding in bindings().iter().filter(|binding| cluster(binding) == "session") {
        let response = gate.call(binding, &http).await;
        let route = format!("{} {}", binding.verb, binding.path);
        assert_eq!(response.status(), 503, "{route}");
        assert_eq!(response.headers()["content-type"], "application/json", "{route}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (14, "SERVICE_UNREACHABLE"), "{route}");
        assert_eq!(error["details"][1]["retryDelay"], "1s", "{route}");
    }
}

/// An EventSource reconnects only after a 200 or a broken connection.
#[tokio::test]
async fn event_source_without_its_service_reconnects() {
    let gate = gate();
    for binding in bindings().iter().filter(|binding| binding.path.ends_with(":watch")) {
        let request = http(&gate.token).get(format!("{}{}?after=1-0", gate.url, path(binding)));
        let request = request.header("accept", "text/event-stream").header("origin", "http://localhost:4200");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", binding.path);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4200");
        assert_eq!(response.text().await.unwrap(), "retry: 1000\n\n");
    }
}

#[tokio::test]
async fn grpc_without_its_service_is_unavailable() {
    let gate = gate();
    for path in rpcs().iter().filter(|path| path.starts_with("/keyplane.session.")) {
        let status = grpc(&gate.channel(), path, Some(&gate.token)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{path}");
        assert!(!status.message().starts_with('{'), "{path}: {}", status.message());
    }
}

#[tokio::test]
async fn unknown_path_is_404_in_the_error_shape() {
    // An unknown path needs no token.
    let Gate { url, .. } = gate();
    let http = reqwest::Client::new();
    let session = "/v1/tenants/acme/users/u/sessions/0123456789abcdef0123456789abcdef";
    let paths = [
        "/".to_owned(),
        "/v2".to_owned(),
        "/v1/tenants/acme".to_owned(),
        format!("{session}:destroy"),
        format!("{session}/more"),
        "/keyplane.session.v1.SessionService/GetSession".to_owned(),
        "/grpc.health.v1.Health/Check".to_owned(),
    ];
    for path in paths {
        let response = http.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        let error: Value = response.json().await.unwrap();
        assert_eq!((&error["code"], &error["details"][0]["domain"]), (&5.into(), &"keyplane.dev".into()), "{path}");
    }
}

#[tokio::test]
async fn unknown_query_parameters_are_400() {
    let gate = gate();
    for path in ["/v1/tenants/acme/users/u/sessions?pagesize=3"] {
        let response = http(&gate.token).get(format!("{}{path}", gate.url)).send().await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = response.json().await.unwrap();
        assert_eq!((&error["code"], &error["details"][0]["reason"]), (&3.into(), &"INVALID_REQUEST".into()), "{path}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
    }
}

#[tokio::test]
async fn document_and_health_need_no_service() {
    let Gate { url, .. } = gate();
    assert_eq!(reqwest::get(format!("{url}/healthz")).await.unwrap().status(), 200);
    let response = reqwest::get(format!("{url}/openapi.json")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["openapi"], "3.0.3");
}

//! The shipped gateway configuration, without a service behind it: each RPC has its route, and none gets past it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use keyplane_contracts::http::{Binding, bindings};
use keyplane_contracts::session::v1::GetSessionRequest;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_engine::{Envoy, Toolbox, free_port};
use keyplane_local::Gateway;
use regex::Regex;
use serde_json::Value;

/// One Envoy for this binary; it dies with it.
fn envoy() -> &'static (Envoy, String) {
    static ENVOY: OnceLock<(Envoy, String)> = OnceLock::new();
    ENVOY.get_or_init(|| {
        let gateway = gateway("running", None);
        let envoy = Envoy::start(&Toolbox::find(), &gateway.prepare().unwrap()).unwrap();
        let address = envoy.listener("gateway").unwrap();
        (envoy, format!("http://{address}"))
    })
}

/// Listens anywhere, and looks for the service where nothing is.
fn gateway(folder: &str, otlp_endpoint: Option<&str>) -> Gateway {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("routes").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Gateway {
        listen: local(0),
        admin: local(0),
        services: vec![("session", local(free_port().unwrap()))],
        folder,
        otlp_endpoint: otlp_endpoint.map(str::to_owned),
        cors_origins: keyplane_local::Options::LOCAL_ORIGINS.to_owned(),
    }
}

/// What a request for the binding looks like.
fn path(binding: &Binding) -> String {
    binding.variables.iter().fold(binding.path.clone(), |path, name| {
        let value = match name.as_str() {
            "tenant" => "acme",
            "user" => "urn:bob%40x.com",
            "session" => "0123456789abcdef0123456789abcdef",
            _ => "any",
        };
        path.replace(&format!("{{{name}}}"), value)
    })
}

// === the routes as Envoy has read them ===

fn routes() -> Vec<Value> {
    let dump: Value = serde_json::from_str(&envoy().0.admin_get("/config_dump").unwrap()).unwrap();
    let configs = dump["configs"].as_array().unwrap();
    let routes = configs.iter().find(|config| config["static_route_configs"].is_array()).unwrap();
    let hosts = &routes["static_route_configs"][0]["route_config"]["virtual_hosts"];
    hosts[0]["routes"].as_array().unwrap().clone()
}

/// Names of the routes that match, in order, the last resort left out.
fn matching<'a>(routes: &'a [Value], path: &str, headers: &[(&str, &str)]) -> Vec<&'a Value> {
    routes.iter().filter(|route| route["name"] != "none" && matches(&route["match"], path, headers)).collect()
}

fn matches(rule: &Value, path: &str, headers: &[(&str, &str)]) -> bool {
    let path_matches = if let Some(prefix) = rule["prefix"].as_str() {
        path.starts_with(prefix)
    } else if let Some(exact) = rule["path"].as_str() {
        path == exact
    } else {
        full_match(rule["safe_regex"]["regex"].as_str().unwrap(), path)
    };
    let rules = rule["headers"].as_array().cloned().unwrap_or_default();
    path_matches && rules.iter().all(|rule| header_matches(rule, headers))
}

fn header_matches(rule: &Value, headers: &[(&str, &str)]) -> bool {
    let Some((_, value)) = headers.iter().find(|(name, _)| rule["name"] == *name) else { return false };
    let text = &rule["string_match"];
    let exact = text["exact"].as_str().is_none_or(|exact| exact == *value);
    let prefix = text["prefix"].as_str().is_none_or(|prefix| value.starts_with(prefix));
    let regex = text["safe_regex"]["regex"].as_str().is_none_or(|regex| full_match(regex, value));
    exact && prefix && regex
}

fn full_match(regex: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(text)
}

/// `session` of `keyplane.session.v1.SessionService`.
fn cluster(binding: &Binding) -> String {
    binding.method.parent_service().full_name().split('.').nth(1).unwrap().to_owned()
}

// === tests ===

#[test]
fn envoy_accepts_the_configuration_with_and_without_a_collector() {
    let toolbox = Toolbox::find();
    for otlp in [None, Some("http://127.0.0.1:4317")] {
        Envoy::validate(&toolbox, &gateway("validated", otlp).prepare().unwrap()).unwrap();
    }
}

#[test]
fn every_http_rule_has_one_route_to_its_own_service() {
    let routes = routes();
    for binding in bindings() {
        let found = matching(&routes, &path(&binding), &[(":method", binding.verb)]);
        let names: Vec<_> = found.iter().map(|route| route["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 1, "{} {}: {names:?}", binding.verb, binding.path);
        assert_eq!(found[0]["route"]["cluster"], cluster(&binding), "{} {}", binding.verb, binding.path);
        let endless = found[0]["route"]["timeout"] == "0s" && found[0]["route"]["idle_timeout"] == "0s";
        assert_eq!(endless, binding.method.is_server_streaming(), "{} {}", binding.verb, binding.path);
    }
}

#[test]
fn every_rpc_has_a_route_to_its_own_service() {
    let routes = routes();
    let headers = [(":method", "POST"), ("content-type", "application/grpc+proto")];
    for binding in bindings() {
        for method in binding.method.parent_service().methods() {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let found = matching(&routes, &path, &headers);
            assert_eq!(found[0]["route"]["cluster"], cluster(&binding), "{path}");
            assert_eq!(found[0]["route"]["timeout"] == "0s", method.is_server_streaming(), "{path}");
        }
    }
}

#[test]
fn only_reads_are_tried_again_after_the_service_may_have_seen_them() {
    for route in routes().iter().filter(|route| route["route"]["retry_policy"].is_object()) {
        let retry_on = route["route"]["retry_policy"]["retry_on"].as_str().unwrap();
        let unsafe_for_writes =
            retry_on.split(',').any(|on| !["connect-failure", "refused-stream", "reset-before-request"].contains(&on));
        assert_eq!(unsafe_for_writes, route["name"] == "session.read", "{}: {retry_on}", route["name"]);
    }
}

#[tokio::test]
async fn without_its_service_every_json_route_answers_503_in_the_error_shape() {
    let (_, url) = envoy();
    let http = reqwest::Client::new();
    for binding in bindings() {
        let verb = reqwest::Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let mut request = http.request(verb, format!("{url}{}", path(&binding)));
        if !binding.body.is_empty() {
            request = request.header("content-type", "application/json").body("{}");
        }
        let response = request.send().await.unwrap();
        let route = format!("{} {}", binding.verb, binding.path);
        assert_eq!(response.status(), 503, "{route}");
        assert_eq!(response.headers()["content-type"], "application/json", "{route}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["code"], 14, "{route}");
        assert_eq!(error["details"][0]["reason"], "SERVICE_UNREACHABLE", "{route}");
        assert_eq!(error["details"][1]["retryDelay"], "1s", "{route}");
    }
}

/// Any other answer would be the end of it: an EventSource comes again only after a 200 or a broken connection.
#[tokio::test]
async fn without_its_service_an_event_source_is_told_to_come_again() {
    let (_, url) = envoy();
    for binding in bindings().iter().filter(|binding| binding.path.ends_with(":watch")) {
        let request = reqwest::Client::new().get(format!("{url}{}?after=1-0", path(binding)));
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
async fn without_its_service_grpc_answers_unavailable() {
    let mut client = SessionServiceClient::connect(envoy().1.clone()).await.unwrap();
    let status = client.get_session(GetSessionRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(!status.message().starts_with('{'), "{}", status.message());
}

#[tokio::test]
async fn what_nobody_thought_of_is_404_in_the_error_shape() {
    let (_, url) = envoy();
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
    let response = http.put(format!("{url}{session}")).send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn stray_query_parameters_and_escaped_slashes_are_400() {
    let (_, url) = envoy();
    for path in ["/v1/tenants/acme/users/u/sessions?pagesize=3", "/v1/tenants/acme/users/a%2Fb/sessions"] {
        let response = reqwest::get(format!("{url}{path}")).await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = response.json().await.unwrap();
        assert_eq!((&error["code"], &error["details"][0]["reason"]), (&3.into(), &"INVALID_REQUEST".into()), "{path}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
    }
}

#[tokio::test]
async fn the_document_and_health_need_no_service() {
    let (_, url) = envoy();
    assert_eq!(reqwest::get(format!("{url}/healthz")).await.unwrap().status(), 200);
    let response = reqwest::get(format!("{url}/openapi.json")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["openapi"], "3.0.3");
}

#[tokio::test]
async fn preflights_are_answered_here() {
    let (_, url) = envoy();
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
            assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{methods}");
        }
    }
}

#[tokio::test]
async fn errors_can_be_read_by_pages_of_allowed_origins() {
    let (_, url) = envoy();
    let request = reqwest::Client::new().get(format!("{url}/v1/tenants/acme/users/u/sessions"));
    let response = request.header("origin", "http://localhost:4200").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4200");
    assert_eq!(response.headers()["access-control-allow-credentials"], "true");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    for header in ["etag", "retry-after", "x-request-id", "grpc-status", "x-ratelimit-remaining"] {
        assert!(exposed.contains(header), "{header} is not among {exposed}");
    }
    assert!(response.headers().contains_key("x-request-id"));
}

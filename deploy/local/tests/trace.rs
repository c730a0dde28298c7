//! Trace of one call, from the caller through the gateway and the services to the store.

mod support;

use std::path::Path;

use keyplane_local::Mesh;
use keyplane_testkit::{Collector, Span};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn json_call_is_one_trace() {
    let collector = Collector::start();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trace");
    let mut options = support::options(folder);
    options.otlp_endpoint = Some(collector.endpoint());
    let mesh = Mesh::start(options).await.unwrap();
    let endpoints = mesh.endpoints();

    let url = format!("{}/v1/{}", endpoints.gateway.as_ref().unwrap(), endpoints.example.as_ref().unwrap());
    let request = support::http(&endpoints.token).get(url).header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);

    let all_there = |spans: &[Span]| {
        gateway_span(spans).is_some()
            && spans.iter().any(is_of_store)
            && gateway_calls(spans).iter().all(Option::is_some)
    };
    let spans = ours(collector.wait_for(|spans| all_there(&ours(spans.to_vec()))).await);
    let gateway = gateway_span(&spans).unwrap();
    assert_eq!(gateway.parent_span_id, CALLER);
    assert_eq!(gateway.name, "session.read");
    let service = spans.iter().find(|span| span.service == "keyplane-session" && span.kind == "server");
    let service = service.unwrap_or_else(|| panic!("no span of the session service: {spans:#?}"));
    assert_eq!(service.parent_span_id, gateway.span_id);
    assert!(service.name.ends_with("SessionService/GetSession"), "{}", service.name);
    // The gateway's own calls (check, rate limit) belong to the same trace.
    for call in gateway_calls(&spans).into_iter().flatten() {
        let parent = spans.iter().find(|span| span.span_id == call.parent_span_id);
        let parent = parent.unwrap_or_else(|| panic!("{} has no parent: {spans:#?}", call.name));
        assert_eq!((parent.service.as_str(), &parent.parent_span_id), ("keyplane-gateway", &gateway.span_id));
    }
    // Paths and keys hold user ids; spans must not.
    for span in &spans {
        for (name, value) in &span.attributes {
            assert!(!value.contains("ada"), "{}: {name} is {value}", span.name);
            assert!(!value.contains(&endpoints.token), "{}: {name} holds the token", span.name);
        }
    }
    mesh.stop().await.unwrap();
}

fn ours(spans: Vec<Span>) -> Vec<Span> {
    spans.into_iter().filter(|span| span.trace_id == TRACE).collect()
}

fn gateway_span(spans: &[Span]) -> Option<&Span> {
    spans.iter().find(|span| span.service == "keyplane-gateway" && span.kind == "server")
}

fn is_of_store(span: &Span) -> bool {
    span.service == "keyplane-session" && span.kind == "client"
}

/// Spans of the gateway's own calls before it admits a request.
fn gateway_calls(spans: &[Span]) -> [Option<&Span>; 2] {
    let find =
        |service: &str, name: &str| spans.iter().find(|span| span.service == service && span.name.ends_with(name));
    [
        find("keyplane-auth-revocation", "Authorization/Check"),
        find("keyplane-rate-limiting", "RateLimitService/ShouldRateLimit"),
    ]
}

//! One trace from the caller through the gateway and the service to the store.

use std::path::Path;

use keyplane_local::{Mesh, Options};
use keyplane_testkit::{Collector, Span};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_json_call_is_one_trace() {
    let collector = Collector::start();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trace");
    let mut options = Options::on_free_ports(env!("CARGO_BIN_EXE_keyplane-up"), folder);
    options.otlp_endpoint = Some(collector.endpoint());
    let mesh = Mesh::start(options).await.unwrap();
    let endpoints = mesh.endpoints();

    let url = format!("{}/v1/{}", endpoints.gateway.as_ref().unwrap(), endpoints.example.as_ref().unwrap());
    let request = reqwest::Client::new().get(url).header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);

    let all_there = |spans: &[Span]| gateway_span(spans).is_some() && spans.iter().any(is_of_store);
    let spans = ours(collector.wait_for(|spans| all_there(&ours(spans.to_vec()))).await);
    let gateway = gateway_span(&spans).unwrap();
    assert_eq!(gateway.parent_span_id, CALLER);
    assert_eq!(gateway.name, "session.read");
    let service = spans.iter().find(|span| span.parent_span_id == gateway.span_id);
    let service = service.unwrap_or_else(|| panic!("the gateway's span has no child: {spans:#?}"));
    assert_eq!(service.kind, "server");
    assert!(service.name.ends_with("SessionService/GetSession"), "{}", service.name);
    // Paths and keys hold user ids; spans must not.
    for span in &spans {
        for (name, value) in &span.attributes {
            assert!(!value.contains("ada"), "{}: {name} is {value}", span.name);
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

//! Collector, called as by an exporter.

use keyplane_testkit::Collector;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn request(name: &str) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        name: name.to_owned(),
        kind: SpanKind::Client.into(),
        attributes: vec![attribute("rpc.port", Value::IntValue(50051)), attribute("ok", Value::BoolValue(true))],
        status: Some(Status { message: "broken".to_owned(), code: 2 }),
        ..Span::default()
    };
    let service = attribute("service.name", Value::StringValue("session".to_owned()));
    let resource = Resource { attributes: vec![service], ..Resource::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

#[tokio::test]
async fn flattens_what_it_receives() {
    let collector = Collector::start();
    let mut client = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
    client.export(request("first")).await.unwrap();
    client.export(request("second")).await.unwrap();
    let spans = collector.wait_for(|spans| spans.iter().any(|span| span.name == "second")).await;
    assert_eq!(spans.len(), 2);
    let span = &spans[0];
    assert_eq!((span.service.as_str(), span.name.as_str(), span.kind), ("session", "first", "client"));
    assert_eq!(span.trace_id, "ab".repeat(16));
    assert_eq!((span.span_id.as_str(), span.parent_span_id.as_str()), ("0101010101010101", "0202020202020202"));
    assert_eq!(span.attributes["rpc.port"], "50051");
    assert_eq!(span.attributes["ok"], "true");
    assert_eq!((span.status, span.status_message.as_str()), ("error", "broken"));
}

//! OTLP receiver in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::background::Background;

/// Span as received, with the service name of its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of the resource; empty without one.
    pub service: String,
    /// Name of the span.
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
    pub kind: &'static str,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or empty for a root.
    pub parent_span_id: String,
    /// Attributes as text: numbers in decimal, lists and maps in brackets.
    pub attributes: BTreeMap<String, String>,
    /// `unset`, `ok` or `error`.
    pub status: &'static str,
    /// Description of an `error`; empty for other statuses.
    pub status_message: String,
    /// Names of the span's events, in order.
    pub events: Vec<String>,
    /// Trace ids of the spans that this one links to.
    pub links: Vec<String>,
}

/// OTLP gRPC receiver of traces and metrics, on a loopback port and a thread of its own: an exporter can flush while the
/// test blocks. Dropping it stops it.
pub struct Collector {
    addr: SocketAddr,
    received: Received,
    _background: Background,
}

#[derive(Clone, Default)]
struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<String>>>,
}

// === impl Collector ===

impl Collector {
    /// Starts a receiver.
    ///
    /// # Panics
    /// No loopback port can be bound.
    #[must_use]
    pub fn start() -> Collector {
        let received = Received::default();
        let (bound, address) = std::sync::mpsc::channel();
        let services = received.clone();
        let background = Background::run(move || async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a loopback port can be bound");
            let _ = bound.send(listener.local_addr().expect("a bound socket has an address"));
            let server = tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(services.clone()))
                .add_service(MetricsServiceServer::new(services));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("the collector serves");
        });
        let addr = address.recv().expect("a loopback port can be bound");
        Collector { addr, received, _background: background }
    }

    /// `http://127.0.0.1:<port>`, as OTLP exporters take it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns all spans so far, in order of arrival: a child usually comes before its parent.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.received.spans.lock().clone()
    }

    /// Returns the names of all metrics so far, each once, sorted.
    #[must_use]
    pub fn metric_names(&self) -> Vec<String> {
        let mut names = self.received.metrics.lock().clone();
        names.sort();
        names.dedup();
        names
    }

    /// Waits until `enough` holds for the spans received, and returns them. Cancel safe.
    ///
    /// # Panics
    /// After 20 seconds, with the spans received.
    pub async fn wait_for(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        crate::eventually("the spans arrive", Duration::from_secs(20), async || {
            let spans = self.spans();
            if enough(&spans) { Ok(spans) } else { Err(spans) }
        })
        .await
    }
}

// === impl Received ===

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let service = service_name(resource_spans.resource);
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().extend(spans.map(|span| flatten(&service, span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics);
        self.metrics.lock().extend(metrics.map(|metric| metric.name));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

// === flattening ===

fn service_name(resource: Option<Resource>) -> String {
    let mut attributes = attributes(resource.map(|resource| resource.attributes).unwrap_or_default());
    attributes.remove("service.name").unwrap_or_default()
}

fn flatten(service: &str, span: opentelemetry_proto::tonic::trace::v1::Span) -> Span {
    let kind = match span.kind() {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    };
    let status = span.status.unwrap_or_default();
    Span {
        service: service.to_owned(),
        name: span.name,
        kind,
        trace_id: HEXLOWER.encode(&span.trace_id),
        span_id: HEXLOWER.encode(&span.span_id),
        parent_span_id: HEXLOWER.encode(&span.parent_span_id),
        attributes: attributes(span.attributes),
        status: match status.code() {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        },
        status_message: status.message,
        events: span.events.into_iter().map(|event| event.name).collect(),
        links: span.links.iter().map(|link| HEXLOWER.encode(&link.trace_id)).collect(),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BytesValue(bytes)) => HEXLOWER.encode(&bytes),
        Some(Value::ArrayValue(array)) => {
            let items: Vec<String> = array.values.into_iter().map(|value| text(Some(value))).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::KvlistValue(list)) => format!("{:?}", attributes(list.values)),
        // An index into a table that only the profiles signal has.
        Some(Value::StringValueStrindex(index)) => format!("#{index}"),
    }
}

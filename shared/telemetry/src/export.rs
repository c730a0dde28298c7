//! OTLP exporters, and the providers around them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};

use crate::semconv;
use crate::settings::{Error, Settings};

/// Longest export attempt; a collector that hangs costs the exporter's own thread alone.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum of spans that wait for export, about half a MiB; further ones are dropped.
const SPAN_QUEUE: usize = 1024;
const SPAN_BATCH: usize = 256;
const SPAN_DELAY: Duration = Duration::from_secs(1);

/// Attributes of the process. The operator's win over our own, but for the name.
pub(crate) fn resource(settings: &Settings) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new(semconv::SERVICE_VERSION, settings.version),
            KeyValue::new(semconv::SERVICE_INSTANCE_ID, settings.instance.clone()),
        ])
        .with_attributes(settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .with_attribute(KeyValue::new(semconv::SERVICE_NAME, format!("keyplane-{}", settings.service)))
        .build()
}

/// Makes the tracer provider. Without an endpoint it records nothing, yet every call still has a trace id for the log.
pub(crate) fn tracer(settings: &Settings, resource: Resource) -> Result<SdkTracerProvider, Error> {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| unusable(endpoint, &error))?;
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(SPAN_QUEUE)
        .with_max_export_batch_size(SPAN_BATCH)
        .with_scheduled_delay(SPAN_DELAY)
        .build();
    Ok(builder
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio))))
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch).build())
        .build())
}

/// Makes the meter provider with the Prometheus registry, and with OTLP push if there is an endpoint.
pub(crate) fn meter(
    settings: &Settings,
    resource: Resource,
    registry: &prometheus::Registry,
) -> Result<SdkMeterProvider, Error> {
    let scrape = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| Error::Setup(error.to_string()))?;
    let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(scrape);
    if let Some(endpoint) = &settings.otlp_endpoint {
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| unusable(endpoint, &error))?;
        builder =
            builder.with_reader(PeriodicReader::builder(exporter).with_interval(settings.metrics_interval).build());
    }
    Ok(builder.build())
}

fn unusable(endpoint: &str, error: &ExporterBuildError) -> Error {
    Error::Endpoint { endpoint: endpoint.to_owned(), reason: error.to_string() }
}

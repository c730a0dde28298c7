//! Set-up and shutdown of the process-wide subscriber, tracer and meter.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::export;
use crate::logs::TracedLines;
use crate::quiet::OncePerMinute;
use crate::settings::{Error, Settings};

/// Longest duration of [`Telemetry::shutdown`].
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Running telemetry of this process. Dropping it flushes nothing: call [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    registry: prometheus::Registry,
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
}

/// Sets up logs, traces and metrics for the whole process. Call it once, inside a tokio runtime, before any
/// instrument is built.
///
/// Collectors may be down: spans past a bounded queue are dropped, with at most one log line a minute.
///
/// # Errors
///
/// Fails for a filter or endpoint that does not parse, and for a second call.
pub fn init(settings: &Settings) -> Result<Telemetry, Error> {
    static DONE: AtomicBool = AtomicBool::new(false);

    let filter = parse_filter(&settings.log_filter, settings.quiet)?;
    if DONE.swap(true, Ordering::SeqCst) {
        return Err(Error::Twice);
    }

    let registry = prometheus::Registry::new();
    let resource = export::resource(settings);
    let tracer = export::tracer(settings, resource.clone())?;
    let meter = export::meter(settings, resource, &registry)?;

    // Only our own spans: those of h2, hyper and the exporter would trace themselves.
    let traced = Targets::new().with_target("keyplane", LevelFilter::INFO);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("keyplane"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(traced);
    // Spans are not formatted at all (their fields cost time on every call); a line names its trace instead.
    let lines = log_layer(settings.log_json)
        .with_filter(filter.and(filter_fn(|metadata| metadata.is_event())).and(OncePerMinute::new()));
    tracing_subscriber::registry()
        .with(spans)
        .with(lines)
        .try_init()
        .map_err(|error| Error::Setup(error.to_string()))?;

    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracer.clone());
    global::set_meter_provider(meter.clone());
    Ok(Telemetry { registry, tracer, meter })
}

/// Checks that [`init`] will accept `filter`.
///
/// # Errors
///
/// [`Error::Filter`] when it does not parse.
pub fn check_filter(filter: &str) -> Result<(), Error> {
    parse_filter(filter, &[]).map(drop)
}

fn parse_filter(filter: &str, quiet: &[&'static str]) -> Result<EnvFilter, Error> {
    // Lines of these targets below their level are written only if the filter names them.
    let quiet = std::iter::once("opentelemetry=warn").chain(quiet.iter().copied()).filter(|directive| {
        let (target, _) = directive.split_once('=').unwrap_or((directive, ""));
        !filter.contains(target)
    });
    let directives: Vec<&str> = std::iter::once(filter).chain(quiet).collect();
    EnvFilter::builder()
        .parse(directives.join(","))
        .map_err(|error| Error::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

type Traced = tracing_subscriber::layer::Layered<
    tracing_subscriber::filter::Filtered<
        tracing_opentelemetry::OpenTelemetryLayer<Registry, opentelemetry_sdk::trace::SdkTracer>,
        Targets,
        Registry,
    >,
    Registry,
>;

fn log_layer(json: bool) -> Box<dyn Layer<Traced> + Send + Sync> {
    if json {
        let format = fmt::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
        fmt::layer()
            .fmt_fields(fmt::format::JsonFields::new())
            .event_format(TracedLines { format, is_json: true })
            .with_writer(std::io::stderr)
            .boxed()
    } else {
        let colour = std::io::stderr().is_terminal();
        fmt::layer()
            .with_ansi(colour)
            .event_format(TracedLines { format: fmt::format().with_ansi(colour), is_json: false })
            .with_writer(std::io::stderr)
            .boxed()
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Returns the registry behind `/metrics`. Cheap to clone.
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Sends the waiting spans and metrics, and stops; gives up after five seconds.
    pub async fn shutdown(self) {
        // The SDK blocks, and its exporters need the runtime to go on: never on a worker thread.
        let flush = tokio::task::spawn_blocking(move || {
            let traces = self.tracer.shutdown_with_timeout(FLUSH_WITHIN);
            let metrics = self.meter.shutdown_with_timeout(FLUSH_WITHIN);
            traces.and(metrics)
        });
        match tokio::time::timeout(FLUSH_WITHIN, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "last telemetry was not delivered"),
            Ok(Err(error)) => tracing::warn!(%error, "telemetry flush failed"),
            Err(_) => tracing::warn!("telemetry flush took too long"),
        }
    }
}

//! Settings of telemetry, and the errors of its set-up.

use std::time::Duration;

/// Settings of telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Short name: `session` becomes `service.name=keyplane-session`.
    pub service: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Unique name of the process, such as a pod's name.
    pub instance: String,
    /// Further resource attributes, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
    /// OTLP gRPC endpoint, such as `http://collector:4317`; none: no push.
    pub otlp_endpoint: Option<String>,
    /// Filter of the log in `tracing`'s syntax: `info`, `info,keyplane_valkey=debug`.
    pub log_filter: String,
    /// Directives for libraries whose warnings we report ourselves; `log_filter` overrides them by target.
    pub quiet: &'static [&'static str],
    /// Log format: JSON lines instead of text.
    pub log_json: bool,
    /// Share of traces kept when the caller has not decided, 0 to 1.
    pub sample_ratio: f64,
    /// Interval of pushes of metrics.
    pub metrics_interval: Duration,
}

/// Error of the set-up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Second call of [`init`](crate::init) in this process.
    #[error("telemetry is set up already: call init once a process")]
    Twice,
    /// Log filter that does not parse.
    #[error("log filter {filter:?} does not parse ({reason}): write it like `info,keyplane_valkey=debug`")]
    Filter {
        /// Filter as given.
        filter: String,
        /// Error of the parser.
        reason: String,
    },
    /// OTLP endpoint that is no usable address.
    #[error("OTLP endpoint {endpoint:?} cannot be used ({reason}): write it like `http://collector:4317`")]
    Endpoint {
        /// Endpoint as given.
        endpoint: String,
        /// Problem with the endpoint.
        reason: String,
    },
    /// Part that failed to start.
    #[error("telemetry cannot be set up: {0}")]
    Setup(String),
}

// === impl Settings ===

impl Settings {
    /// Makes settings with text logs at `info` and no collector, for a tool or a test.
    pub fn new(service: &'static str) -> Self {
        Self {
            service,
            version: env!("CARGO_PKG_VERSION"),
            instance: format!("{service}-{}", std::process::id()),
            resource: Vec::new(),
            otlp_endpoint: None,
            log_filter: "info".to_owned(),
            quiet: &[],
            log_json: false,
            sample_ratio: 1.0,
            metrics_interval: Duration::from_secs(30),
        }
    }
}

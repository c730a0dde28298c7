//! What a process tells, and what can be wrong with that.

use std::time::Duration;

/// What a process tells, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Short name: `session` becomes `service.name=keyplane-session`.
    pub service: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Unlike in any two processes that run at the same time; a pod's name will do.
    pub instance: String,
    /// Further resource attributes, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
    /// OTLP gRPC endpoint, such as `http://collector:4317`; none: nothing is pushed.
    pub otlp_endpoint: Option<String>,
    /// Filter of the log in `tracing`'s syntax: `info`, `info,keyplane_valkey=debug`.
    pub log_filter: String,
    /// Directives that hold unless `log_filter` names their target: libraries whose warnings we report ourselves.
    pub quiet: &'static [&'static str],
    /// JSON lines instead of text.
    pub log_json: bool,
    /// Share of traces kept when the caller has not decided, 0 to 1.
    pub sample_ratio: f64,
    /// Time between two pushes of metrics.
    pub metrics_interval: Duration,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`init`](crate::init) ran before in this process.
    #[error("telemetry is set up already: call init once a process")]
    Twice,
    /// The log filter does not parse.
    #[error("log filter {filter:?} does not parse ({reason}): write it like `info,keyplane_valkey=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What the parser said.
        reason: String,
    },
    /// The OTLP endpoint is not a usable address.
    #[error("OTLP endpoint {endpoint:?} cannot be used ({reason}): write it like `http://collector:4317`")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part refused to start.
    #[error("telemetry cannot be set up: {0}")]
    Setup(String),
}

// === impl Settings ===

impl Settings {
    /// Text logs at `info` and no collector: what a tool or a test starts from.
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

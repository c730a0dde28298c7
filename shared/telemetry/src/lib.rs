//! Traces, metrics and logs: set-up, W3C propagation, and the names of every attribute and metric.
//!
//! [`init`] is called once, at the start of a process. Then spans come from `tracing`, instruments from [`metrics`], names
//! from [`semconv`], and [`propagation`] carries the trace over process borders. The server kit's settings fill in
//! [`Settings`]; this crate reads no environment variable.

pub mod metrics;
pub mod propagation;
pub mod semconv;

mod export;
mod log_limit;
mod logs;
mod quiet;
mod settings;
mod setup;

pub use log_limit::LogLimit;
pub use settings::{Error, Settings};
pub use setup::{Telemetry, check_filter, init};

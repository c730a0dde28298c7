//! What tests need: an engine, an app prefix of their own, a fault proxy, a trace collector.
//!
//! [`valkey`] is the server of the test binary and [`app`] a prefix of the test's own. [`FaultProxy`] stands between a
//! client and a server and misbehaves on demand. [`Collector`] receives traces over OTLP. [`Sse`] is an EventSource.
//! [`eventually`] waits for a condition, so that no test sleeps for a fixed time. [`fake_service`] is for a peer that a test
//! plays itself. [`OpenApi`] holds JSON against the schemas of a document. [`settings`], [`channel`], [`ready`] and [`details`]
//! start a whole service and read its errors.

mod background;
mod collector;
mod engine;
mod eventually;
mod fake;
mod openapi;
mod proxy;
mod pump;
mod service;
mod sse;
mod sse_parser;

pub use collector::{Collector, Span};
pub use engine::{app, toolbox, valkey};
pub use eventually::{Attempt, eventually};
pub use openapi::OpenApi;
pub use proxy::{Fault, FaultProxy};
pub use service::{channel, details, ready, settings, violated};
pub use sse::{Event, Sse, SseError};

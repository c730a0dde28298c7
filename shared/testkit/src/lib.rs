//! Helpers for tests: an engine, app prefixes, services, a fault proxy, an event client, a trace collector.
//!
//! [`valkey`] is the server of the test binary, [`search_engine`] one with search indexes, and [`app`] a prefix of the test's own. [`FaultProxy`] stands between a
//! client and a server and imitates faults. [`Collector`] receives traces over OTLP. [`Sse`] is an EventSource.
//! [`eventually`] waits for a condition, so that no test sleeps for a fixed time. [`fake_service`] is for a peer that the
//! test plays itself. [`OpenApi`] validates JSON against the schemas of a document. [`settings`], [`channel`], [`ready`] and [`details`]
//! start a whole service and read its errors.

mod background;
mod collector;
mod commands;
mod documented;
mod engine;
mod eventually;
mod fake;
mod fault;
mod ft;
mod openapi;
mod proxy;
mod pump;
mod service;
mod sse;
mod sse_parser;

pub use collector::{Collector, Span};
pub use commands::search_commands;
pub use documented::assert_settings_documented;
pub use engine::{app, search_engine, toolbox, valkey};
pub use eventually::{Attempt, eventually};
pub use fault::Fault;
pub use ft::check_search_query;
pub use openapi::OpenApi;
pub use proxy::FaultProxy;
pub use service::{channel, details, ready, settings, violated};
pub use sse::{Sse, SseError};
pub use sse_parser::Event;

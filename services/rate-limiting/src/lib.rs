//! Rate-limiting service: exact leaky-bucket limits. *May they do this now?*
//!
//! Policies set how many hits a tenant, a user, a key or a route may have in a period. A call is admitted by all of its limits,
//! or charged to none. `grpc` is the face, ours and Envoy's; `app` has the use cases; `domain` the arithmetic and the rules;
//! `store` the scripts and the only calls to Valkey; `peers` reads the operator's policies file.

pub mod app;
mod config;
pub mod domain;
pub mod error;
mod grpc;
pub mod peers;
mod service;
pub mod store;

pub use config::Config;
pub use service::{SERVICE, main, start};

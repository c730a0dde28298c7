//! The rate-limiting service: may they do this now?
//!
//! Policies say how much of something there may be in what time, for a tenant, a user, a key, a route or anything else. A
//! call is admitted by all of its limits, or none is charged. `domain` has the arithmetic and the rules, `store` the one
//! script and what gathers its calls, `limiter` the way of a call through memory and store, `policies` where the rules come
//! from, `grpc` the faces: our own, and Envoy's.

mod config;
pub mod domain;
pub mod error;
mod grpc;
pub mod limiter;
mod metrics;
pub mod policies;
mod service;
pub mod store;

pub use config::Config;
pub use grpc::EnvoySettings;
pub use service::{SERVICE, main, start};

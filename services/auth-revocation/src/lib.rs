//! Revocation service. *Is this token still good?*
//!
//! From 100 ms after a revocation is acknowledged, no check anywhere lets its tokens pass, though checks of good tokens
//! are answered from memory. `domain` has the rules of a revocation, `store` the scripts, `app` the use cases and the
//! replica in memory, `grpc` our own API and Envoy's external authorization, `peers` the issuers' keys.

pub mod app;
mod config;
pub mod domain;
pub mod error;
mod grpc;
mod peers;
mod service;
pub mod store;

pub use config::Config;
pub use service::{SERVICE, main, start};

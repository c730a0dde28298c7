//! The revocation service: is this token still good?
//!
//! Whoever logs a user out revokes, and from 100 ms after the acknowledgement no check anywhere lets the token pass, though
//! checks of good tokens are answered from memory. `domain` has the rules of a revocation, `store` the scripts, `replica` the
//! memory and the proof that it is fresh, `grpc` the faces: our own, Envoy's external authorization, RFC 7009.

mod config;
pub mod domain;
pub mod error;
mod grpc;
pub mod replica;
mod service;
pub mod store;

pub use config::Config;
pub use service::{SERVICE, main, start};

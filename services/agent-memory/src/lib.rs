//! Agent memory: what agents learnt, found again within a budget of tokens. *What did the agent already learn?*
//!
//! Calls go `grpc → app → store`, and `app → peers` for embeddings; `domain` has the rules under all of them. [`start`] runs the
//! service.

pub mod app;
mod config;
pub mod domain;
pub mod error;
mod grpc;
pub mod peers;
mod service;
pub mod store;

pub use config::{Config, Embeddings};
pub use service::{SERVICE, main, start};

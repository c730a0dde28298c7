//! Search service: full-text, faceted search over documents, kept apart by tenant. *Where is the thing they look for?*
//!
//! Calls go `grpc → app → store`; `domain` has the rules under all of them. [`start`] runs the service.

pub mod app;
mod config;
pub mod domain;
pub mod error;
mod grpc;
mod service;
pub mod store;

pub use config::{Config, Limits, Rebuilds, Searches};
pub use service::{SERVICE, main, start};

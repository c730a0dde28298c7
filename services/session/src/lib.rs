//! Session service: one record of each user session, which an identity provider creates at login and a single-page app
//! updates on each route change. *Who is this, and where were they?*
//!
//! Calls go `grpc → app → store`, and `app → peers`; `domain` has the rules under all of them. [`start`] runs the service.

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

//! The session service: who is this, and where were they?
//!
//! An identity provider creates a session at login, a single-page app updates it on each route change, and both see one
//! truth. [`start`] runs the service; `domain` has the rules, `store` the scripts, `logout` what else an end of
//! sessions needs, `grpc` the face.

mod config;
pub mod domain;
pub mod error;
mod grpc;
mod logout;
mod service;
pub mod store;

pub use config::Config;
pub use service::{SERVICE, main, start};

//! Local mesh, for people and for tests: Valkey, the services, and the gateway with the shipped configuration, each a
//! process on loopback.
//!
//! [`Mesh`] starts and stops everything; [`run`] is the program behind `cargo up`.

mod cli;
mod demo;
mod endpoints;
mod error;
mod gateway;
mod guide;
mod issuer;
mod lock;
mod mesh;
mod options;
mod policies;
mod ports;
mod ready;
mod services;

pub use cli::run;
pub use endpoints::{Endpoints, ServiceEndpoints};
pub use error::Error;
pub use gateway::Gateway;
pub use issuer::{Grant, Issuer};
pub use mesh::Mesh;
pub use options::Options;

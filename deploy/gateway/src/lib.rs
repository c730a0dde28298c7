//! Gateway: runs Envoy with the shipped configuration, restarts it when it dies, drains it, and guards its JSON routes.
//!
//! [`Supervisor`] runs Envoy and the guard as child processes. [`main`] is the program `keyplane-gateway`;
//! [`guard_main`] is the guard's process.

mod config;
mod error;
pub mod guard;
mod program;
mod supervisor;

pub use config::Config;
pub use error::Error;
pub use guard::InProcessGuard;
pub use program::{guard_main, main};
pub use supervisor::{Report, Setup, Socket, Supervisor};

//! The gateway: runs Envoy with the shipped configuration, restarts it when it dies, drains it, and guards its JSON routes.
//!
//! [`Supervisor`] runs Envoy and the guard as processes of their own; [`main`] is the program `keyplane-gateway`, and
//! [`guard_main`] is the guard's process.

mod error;
pub mod guard;
mod here;
mod keep;
mod program;
mod socket;
mod supervise;

pub use error::Error;
pub use here::Here;
pub use keep::Say;
pub use program::{Config, guard_main, main};
pub use socket::Socket;
pub use supervise::{Setup, Supervisor};

//! JSON guard: an external processor (`envoy.service.ext_proc.v3`) that Envoy calls with each JSON body.
//!
//! Envoy's transcoder drops unknown fields, takes the last of two values, and accepts text that is not JSON. The guard checks
//! a body against the request's message type first, reports every violation at once, and passes on canonical JSON.

mod check;
mod in_process;
mod report;
mod schema;
mod server;

pub use in_process::InProcessGuard;
pub use server::Guard;

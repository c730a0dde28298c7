//! JSON guard: an external processor (`envoy.service.ext_proc.v3`) that Envoy asks about each JSON body.
//!
//! Envoy's transcoder drops fields that it does not know, takes the last of two values, and reads text that is no JSON. The
//! guard checks a body against the request's message type first, tells the caller every violation at once, and passes on
//! canonical JSON of its own.

mod check;
mod report;
mod schema;
mod server;

pub use server::{Guard, GuardError};

//! Calls over gRPC: results, and the errors that the contract names.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod recalls;
mod rules;
mod sessions;
mod writes;

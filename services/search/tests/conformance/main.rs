//! Promises of the contract for each call, over gRPC on a real engine.

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod collections;
mod documents;
mod searches;

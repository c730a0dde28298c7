//! Load generator and its report.
//!
//! - `mesh` compares the session calls with what bounds them: an empty echo on the same server kit, the raw Valkey
//!   commands, and an RPC whose handler runs just that raw command.
//! - `sessions` updates and watches thousands of sessions in an open loop.
//! - `revocation` compares checks of tokens with the echo, and measures a million revocations.
//! - `ratelimit` compares limits with the echo, their own script and envoyproxy/ratelimit.
//! - `search` times the complex query over 100,000 documents, beside its bare commands and PostgreSQL.
//! - `gateway` measures the price of the JSON guard, with and without a body.
//! - `relevance` measures the ranking of search beside the engine's own order and SQLite's BM25.
//! - `recall` measures the evidence that agent-memory recalls within a budget, on dialogues in LoCoMo's format.
//! - `propagation` proves that no revoked token passes 100 ms after the acknowledgement, under any fault.
//! - `soak` checks every promise under load and random faults.
//!
//! The services run in child processes of their own, on an embedded Valkey. `docs/BENCHMARKS.md` explains the figures.

mod cli;
mod closed;
mod cores;
mod decide;
mod dice;
mod echo;
mod gateway;
mod load;
mod machine;
mod memory;
mod mesh;
mod numbers;
mod pace;
mod propagation;
mod ratelimit;
mod raw;
mod report;
mod revocation;
mod rig;
mod search;
mod serve;
mod sessions;
mod soak;
mod tokens;
mod usage;

pub use cli::main;

/// Failure that stops a run, as text. A failed call is counted instead.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Code that build.rs generated for the echo service.
mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("keyplane.bench.v1");
}

//! The load generator and its report.
//!
//! `mesh` compares the session calls with what bounds them: an empty echo on the same server kit, the raw Valkey
//! commands, and an RPC whose handler runs just that raw command. `sessions` updates and watches thousands of sessions
//! in an open loop. `revocation` holds checks of tokens against the echo, and tells what a million revocations cost.
//! `ratelimit` holds limits against the echo, their own script and envoyproxy/ratelimit. `gateway` tells what the guard of
//! JSON bodies costs, and those who send none.
//! `propagation` proves that no revoked token passes 100 ms after the acknowledgement, whatever goes wrong. `soak` holds all
//! that README promises against what happens under random faults. The services run
//! in child processes of their own, on an embedded Valkey. `docs/BENCHMARKS.md` says how to read the figures.

mod cli;
mod closed;
mod cores;
mod decide;
mod dice;
mod echo;
mod gateway;
mod load;
mod machine;
mod mesh;
mod numbers;
mod pace;
mod propagation;
mod ratelimit;
mod raw;
mod report;
mod revocation;
mod rig;
mod serve;
mod sessions;
mod soak;
mod tokens;
mod usage;

pub use cli::main;

/// What stops a run, in words. A call that fails doesn't: it is counted.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// What build.rs made of the echo service.
mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("keyplane.bench.v1");
}

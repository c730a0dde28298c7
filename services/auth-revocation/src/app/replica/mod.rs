//! Revocation replica in memory, and the proof that it is fresh.
//!
//! A [`Mirror`] follows every partition of the feed. Each partition has two connections: one waits for new entries with
//! blocking reads, for speed alone; the other reads the head of the feed at each beat, and freshness rests on that. A
//! head that was asked for at `t` proves that everything acknowledged before `t` is in the feed up to it. From the
//! moment at which memory holds that very entry (number and nonce), memory is as fresh as `t`:
//!
//! ```text
//! asked at t ──> head (q, n) ──> is entry q, with nonce n, applied? ── yes ──> fresh as of t
//!                                            │ not yet: kept until it is    │
//!                                            └ no, another nonce, or q is behind us: the store lost something
//! ```
//!
//! No answer of a blocking read, and nothing that the blocked connection does, can make memory look fresher than it is.

mod coverage;
mod follow;
mod freshness;
mod gauges;
mod lease;
mod maintenance;
mod metrics;
mod mirror;
mod partitions;
mod propagation;
mod readiness;
mod recent;
mod settings;
mod shared;
mod stall;

pub(in crate::app) use freshness::Reading;
pub use mirror::Mirror;
pub(in crate::app) use partitions::Position;
pub use propagation::Propagation;
pub use settings::Settings;
pub(in crate::app) use shared::Shared;
pub use shared::{Applied, Head};

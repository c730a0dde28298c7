//! The replica in memory, the proof that it is fresh, and who answers when it is not.
//!
//! A [`Mirror`] follows every partition of the feed; a [`Checker`] answers by it. Two connections a partition: one waits
//! for new entries with blocking reads, for speed alone; the other asks for the head of the feed at each beat, and that is
//! what freshness rests on. A head that was asked for at `t` proves that everything acknowledged before `t` is in the feed
//! up to it, so from the moment at which memory holds that very entry (number and nonce), memory is as fresh as `t`:
//!
//! ```text
//! asked at t ──> head (q, n) ──> is entry q, with nonce n, applied? ── yes ──> fresh as of t
//!                                            │ not yet: kept until it is    │
//!                                            └ no, another nonce, or q is behind us: the store lost something
//! ```
//!
//! No answer of a blocking read, and nothing that the blocked connection does, can make memory look fresher than it is.

mod barrier;
mod catch_up;
mod chain;
mod checker;
mod follow;
mod freshness;
mod handover;
mod lease;
mod metrics;
mod mirror;
mod persist;
mod pulse;
mod reconcile;
mod settings;
mod shared;
mod tail;
mod track;
mod upkeep;
mod witness;

pub use checker::{Checked, CheckedAll, Checker, Demands, Freshness, Source};
pub use mirror::{Applied, Head, Mirror, Propagation};
pub use settings::Settings;

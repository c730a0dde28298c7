//! Revocations: the rules that decide whether a token is revoked, and the replica that answers from memory.
//!
//! Pure: no I/O, and no clock is read. The service and its clients share it, so that both answer alike.
//!
//! - A [`Target`] is revoked, a [`State`] holds all that is known of it, and an [`Entry`] of the feed is both with a
//!   [`Version`]. Of two entries of one target the one with the higher version holds, in whichever order they come.
//! - [`judge`] decides from exact states whether a token with these [`Claims`] is good. [`Replica`] decides from memory, by
//!   the same [`Rules`]; a single token may be [`Answer::Suspect`] to it.
//! - A token that does not name its key is [`Answer::KeyUnknown`] while a key of its issuer is revoked.
//! - [`Sequence`] is a position in the feed; [`StoreClock`] estimates the store's time between its replies.
//! - [`filter`] has the buckets of the Bloom filters, in the store and in memory; [`wire`] has the messages.

mod claims;
mod clock;
mod cutoffs;
pub mod filter;
mod handover;
mod replica;
mod rules;
mod sequence;
mod state;
mod target;
pub mod text;
mod time;
mod tokens;
pub mod wire;

pub use claims::Claims;
pub use clock::StoreClock;
pub use filter::Filters;
pub use handover::Handover;
pub use replica::{Replica, Stats};
pub use rules::{Answer, Rule, Rules, judge};
pub use sequence::Sequence;
pub use state::{Entry, Kept, State};
pub use target::{CutoffBy, RevocationId, Scope, Target, TokenHash};
pub use text::Malformed;
pub use time::{Millis, Version};

//! Rules of a revocation: plain functions on plain structs, without I/O and without a clock.

mod audit;
mod chain;
pub(crate) mod keys;
pub mod names;
mod policy;
mod revoke;

pub use audit::AuditEntry;
pub use chain::{Link, Relation, Step, View};
pub use keyplane_audit::{Cause, Reason};
pub use policy::{AfterLoss, OutagePolicy, OutagePolicyError};
pub use revoke::{Cutoff, Durability, Outcome, Record, Revoke, Written};

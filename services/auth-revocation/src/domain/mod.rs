//! Rules of a revocation: plain functions on plain structs, without I/O and without a clock.

mod audit;
mod chain;
pub(crate) mod keys;
pub mod names;
mod policy;
mod revoke;

pub use audit::{AuditEntry, AuditPage, AuditToken};
pub use chain::{Link, Relation, Step, View};
pub use policy::{AfterLoss, OutagePolicy, OutagePolicyError};
pub use revoke::{Cause, Cutoff, Durability, Outcome, Reason, Record, Revoke, Written};

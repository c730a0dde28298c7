//! Rules of limits and policies: plain functions on plain structs.

mod catalog;
pub mod changed_policy;
mod limit;
mod limit_ids;
mod meter;
mod patch;
mod policy;
mod policy_path;
mod subject;

pub use catalog::{Applied, Catalog, CatalogError, Compiled, Figures, Rule};
pub use limit::{Limit, Mode};
pub use limit_ids::LimitIds;
pub use meter::{Level, Meter};
pub use patch::{Limits, Patch};
pub use policy::{Entry, Origin, Outage, Policy, PolicyId, check_plan};
pub use policy_path::{LimitOf, LimitPart, PolicyNames, PolicyPath, PolicyViolation};
pub use subject::{Descriptor, Subject};

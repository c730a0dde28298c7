//! The rules: plain functions on plain structs.

mod catalog;
mod limit;
mod meter;
mod patch;
mod policy;
mod subject;

pub use catalog::{Applied, Catalog, CatalogError, Compiled, Figures, Rule};
pub use limit::{Limit, Mode};
pub use meter::{Level, Meter};
pub use patch::{Limits, Patch};
pub use policy::{Entry, Origin, Outage, Policy, PolicyId, check_plan};
pub use subject::{Descriptor, Subject};

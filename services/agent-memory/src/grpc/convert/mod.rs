//! Messages to the domain's types and back. Requests are checked here, once; an error names every violated field. The dimensions of a
//! space are checked by `app`, which knows the spaces.

mod content;
mod filter;
mod list;
mod recall;
mod remember;
mod reply;
mod scope;
mod sessions;
mod times;
mod update;
mod vector;

use keyplane_contracts::names::{MemoryName, TenantId};
use keyplane_contracts::{Violation, Violations};

use crate::domain::MemoryId;
use crate::error::Error;

pub(super) use filter::forget;
pub(super) use list::list;
pub(super) use recall::{recall, recalled};
pub(super) use remember::{at, remember};
pub(super) use reply::{forgotten, memory, page, result};
pub(super) use sessions::{Summary, append, events, list_events, summarize, summarized, trim};
pub(super) use update::update;

/// Memory of a request that names just one.
pub(super) fn memory_name(name: &str) -> Result<(TenantId, MemoryId), Error> {
    named(name, "name").map_err(Error::invalid)
}

/// Tenant and id of a memory's name.
fn named(name: &str, field: &str) -> Result<(TenantId, MemoryId), Violation> {
    let name = MemoryName::parse(name, field)?;
    let rule = || Violation::new(field, "must be the name of a memory, as the service made it");
    let id = MemoryId::parse(name.memory()).ok_or_else(rule)?;
    Ok((name.tenant, id))
}

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    violations.checked(parsed).map_err(Error::Invalid)
}

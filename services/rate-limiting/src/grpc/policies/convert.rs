//! Messages about policies to the domain's types and back. Every violated field is told at once.

mod reply;
mod request;

pub(super) use reply::{audit_page, page, tenant_plan};
pub(crate) use reply::{limit, policy};
pub(super) use request::{audit, create, delete, get, list, plan, set_plan, update};

#[cfg(test)]
mod tests;

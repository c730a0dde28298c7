//! Messages to the domain's types and back. Requests are checked here, once; an error names every violated field.

mod endings;
mod events;
mod fields;
mod fingerprint;
mod reply;
mod sessions;
mod watch;

use keyplane_contracts::Violations;

use crate::error::Error;

pub(super) use endings::{delete, revoke_all};
pub(super) use events::event;
pub(super) use reply::{page, session, touched};
pub(super) use sessions::{create, list, patch, rotate, session_name};
pub(super) use watch::watch;

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    violations.checked(parsed).map_err(Error::Invalid)
}

//! Other services that the session service calls.

mod revocation;

pub(crate) use revocation::Revoker;

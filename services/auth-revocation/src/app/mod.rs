//! Use cases: revoke, check, authorize a request of the gateway, verify tokens, watch; and the revocation replica that
//! answers from memory.

mod authorize;
pub mod check;
pub mod replica;
mod revoker;
mod tokens;
mod watch;

pub(crate) use authorize::{Authorizer, Decision};
pub(crate) use revoker::Revoker;
pub(crate) use tokens::TokenVerifier;
pub(crate) use watch::{Update, Watch, Watches};

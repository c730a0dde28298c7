//! Messages to the domain's types and back. A request is checked here, once; every violated field is reported at once.

pub(super) mod calls;
pub(super) mod envoy_error;
pub(super) mod envoy_reply;
pub(super) mod envoy_request;
pub(super) mod policy_reply;
pub(super) mod policy_request;
#[cfg(test)]
mod policy_tests;

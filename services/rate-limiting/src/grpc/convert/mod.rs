//! Converts messages to the domain's types and back. Requests are checked here; all violated fields are reported at once.

pub(super) mod calls;
pub(super) mod envoy_error;
pub(super) mod envoy_reply;
pub(super) mod envoy_request;
pub(super) mod policy_reply;
pub(super) mod policy_request;
#[cfg(test)]
mod policy_tests;
mod wire;

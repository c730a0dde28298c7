//! Descriptor sets of Envoy's services that Keyplane implements: encoded `google.protobuf.FileDescriptorSet`s for reflection.
//!
//! Messages themselves come from the crate `envoy-types`, which has no descriptors.

/// External authorization, the part that the revocation service implements.
pub const EXT_AUTHZ_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ext_authz.binpb"));

/// Global rate limit, the part that the rate-limiting service implements.
pub const RATE_LIMIT_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rate_limit.binpb"));

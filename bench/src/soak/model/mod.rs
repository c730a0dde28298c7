//! Models of the mesh's promises: plain structs that callers feed with what they saw.

pub(super) mod events;
pub(super) mod meter;
pub(super) mod session;
pub(super) mod token;

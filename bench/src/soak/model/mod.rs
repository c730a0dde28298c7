//! What the mesh promises, as plain structs that are told what callers saw.

pub(super) mod events;
pub(super) mod meter;
pub(super) mod session;
pub(super) mod token;

//! Search in Valkey.

pub mod definitions;
pub mod generations;
mod keys;

use keyplane_valkey::Valkey;

/// Search in Valkey. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    valkey: Valkey,
}

// === impl Store ===

impl Store {
    /// Store in `valkey`.
    #[must_use]
    pub fn new(valkey: Valkey) -> Store {
        Store { valkey }
    }
}

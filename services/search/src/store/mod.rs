//! Search in Valkey.

mod counters;
pub mod definitions;
pub mod documents;
mod engine;
mod fence;
mod find;
pub mod generations;
mod keys;
mod lexicon;

use keyplane_valkey::Valkey;

pub use counters::{Counters, Totals};
pub use documents::Loaded;
pub use engine::Engine;
pub use find::{AnyOf, Find, Matches, Row};
pub use lexicon::{Delta, LogRead, TermsPage};

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

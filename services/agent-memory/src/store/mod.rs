//! Memories in Valkey.

mod body;
mod commit;
mod directory;
mod due;
mod embeddings;
mod engine;
mod erasures;
mod keys;
mod large;
mod mend;
mod nearest;
mod read;
mod recalled;
mod remove;
mod spaces;
mod touch;

use data_encoding::HEXLOWER;
use keyplane_contracts::names::Id;
use keyplane_valkey::Valkey;
use sha2::{Digest as _, Sha256};

use crate::domain::{Scope, SpaceId};

pub use body::{Place, Stored};
pub use commit::{CHUNK, Change, Commit, Committed, Operation, Put, RECORD, Removal};
pub use directory::Directory;
pub use due::Due;
pub use embeddings::{Embeddings, TextHash};
pub use keys::RecordName;
pub use mend::{Correction, Counters};
pub use nearest::Matching;
pub use touch::TOUCH_EVERY;

/// Memories in Valkey. Cheap to clone.
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

/// Hash of a subject within its owner: subjects of other agents and workflows are others. None for no subject.
#[must_use]
pub fn subject_hash(scope: &Scope, subject: &str) -> Option<String> {
    if subject.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for part in [&scope.agent, &scope.workflow] {
        hash.update(part.as_ref().map_or("", Id::as_str));
        hash.update([0]);
    }
    hash.update(subject);
    Some(HEXLOWER.encode(&hash.finalize()[..12]))
}

/// Hash of a space in items.
#[must_use]
pub fn space_hash(space: &SpaceId) -> u32 {
    crate::domain::text::name_hash(space.as_str())
}

//! Documents of collections: writes, reads, deletions.

mod attempt;
mod delete;
mod lexicon;
mod prepare;
mod update;
mod upsert;
mod usage;

pub(super) use lexicon::{BatchId, Changes};

use keyplane_contracts::names::DocumentName;

use super::collections::Definitions;
use crate::domain::{Build, Stored};
use crate::error::Error;
use crate::store::Store;
use crate::store::documents::Loaded;
use usage::Usage;

pub use upsert::Batch;
pub use usage::DocumentLimits;

/// Maximum of attempts of a write that meets a newer definition, or other changes of its document.
const ATTEMPTS: usize = 5;

/// Documents of collections. Cheap to clone.
///
/// A write whose outcome is unknown may be repeated: the same content is written once.
#[derive(Clone)]
pub struct Documents {
    store: Store,
    definitions: Definitions,
    usage: Usage,
}

// === impl Documents ===

impl Documents {
    /// Documents in `store`, within the limits of each tenant.
    #[must_use]
    pub fn new(store: Store, definitions: Definitions, limits: DocumentLimits) -> Documents {
        Documents { usage: Usage::new(store.clone(), limits), store, definitions }
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Missing collection or document, or an error of the store.
    pub async fn get(&self, name: &DocumentName) -> Result<Stored, Error> {
        let definition = self.definitions.get(&name.collection).await?;
        match self.load(name, &definition.live).await? {
            Some(loaded) => Ok(loaded),
            None => {
                // A rebuild may have moved it since the definition was read.
                let definition = self.definitions.reload(&name.collection).await?;
                let loaded = self.load(name, &definition.live).await?;
                loaded.ok_or_else(|| Error::DocumentNotFound { document: name.document.clone() })
            }
        }
    }

    /// Document that has not expired.
    async fn load(&self, name: &DocumentName, build: &Build) -> Result<Option<Stored>, Error> {
        let ids = std::slice::from_ref(&name.document);
        let loaded: Option<Loaded> = self.store.load(&name.collection, build, ids).await?.pop().flatten();
        let now = now();
        let live = |stored: &Stored| stored.document.expires.is_none_or(|expires| expires > now);
        Ok(loaded.map(|loaded| loaded.stored).filter(live))
    }
}

/// Time of this instance, in milliseconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! Collections: create, read, change, roll back, delete.

mod create;
mod definitions;
mod read;
mod swap;
mod update;

use std::time::Duration;

use keyplane_contracts::names::CollectionName;

use crate::domain::{CollectionState, Definition};
use crate::error::Error;
use crate::store::Store;
use crate::store::definitions::Defined;

use update::Edit;

pub(super) use swap::swap;

pub use definitions::Definitions;

/// Maximum of attempts at a change while other callers change the same definition.
const ATTEMPTS: u32 = 5;

/// Limits of collections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum of collections of a tenant.
    pub collections: u64,
    /// Maximum of indexes of the store.
    pub indexes: u64,
    /// Time after a switch in which a rollback is possible.
    pub rollback_age: Duration,
}

/// Collections. Cheap to clone.
#[derive(Clone)]
pub struct Collections {
    store: Store,
    definitions: Definitions,
    limits: Limits,
}

// === impl Collections ===

impl Collections {
    /// Collections of `store`, within `limits`.
    #[must_use]
    pub fn new(store: Store, definitions: Definitions, limits: Limits) -> Collections {
        Collections { store, definitions, limits }
    }

    /// Current definition of an open collection.
    async fn current(&self, name: &CollectionName) -> Result<Definition, Error> {
        let definition = self.store.definition(name).await?;
        let open = definition.filter(|definition| definition.state == CollectionState::Active);
        open.ok_or_else(|| Error::CollectionNotFound { collection: name.collection.clone() })
    }

    /// Current definition, if its etag is the expected one.
    async fn expected(&self, name: &CollectionName, etag: Option<&str>) -> Result<Definition, Error> {
        let definition = self.current(name).await?;
        let current = definition.revision.to_string();
        match etag {
            Some(etag) if etag != current => Err(Error::StaleWrite { resource: "collection", current }),
            Some(_) | None => Ok(definition),
        }
    }

    /// Changes a definition by compare-and-set; tries again while other callers change it, unless the caller named an etag.
    ///
    /// Returns the definition in force.
    async fn change(&self, name: &CollectionName, etag: Option<&str>, edit: &Edit) -> Result<Definition, Error> {
        for _ in 0..ATTEMPTS {
            let before = self.expected(name, etag).await?;
            let reserved = self.store.reserve(&name.tenant).await?;
            let revision = before.revision;
            let base = Definition { revision: reserved.number, ..before.clone() };
            let Some(after) = self.edit(edit, base, reserved.now).await? else {
                return Ok(before);
            };
            match self.store.redefine(revision, &after).await? {
                Defined::Done => {
                    self.definitions.forget(name);
                    return Ok(after);
                }
                Defined::Missing => return Err(Error::CollectionNotFound { collection: name.collection.clone() }),
                Defined::Changed { revision } if etag.is_some() => {
                    return Err(Error::StaleWrite { resource: "collection", current: revision.to_string() });
                }
                Defined::Changed { .. } | Defined::Exists | Defined::Full => {}
            }
        }
        Err(Error::WriteConflict)
    }
}

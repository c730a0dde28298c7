//! Creation and removal of collections.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;

use super::Collections;
use super::update::Edit;
use crate::domain::{Build, Collection, CollectionState, Definition, Generation, Layout, Placement, Schema};
use crate::error::Error;
use crate::store::definitions::{Defined, Reserved};

/// Time after which another caller may take over a creation, in microseconds.
const ABANDONED: i64 = 10_000_000;
/// First maintenance of a new collection; it removes one whose creation was abandoned.
const FIRST_LOOK: Duration = Duration::from_secs(60);

// === impl Collections ===

impl Collections {
    /// Creates a collection in the index that its schema's shape shares. It is open to searches and writes on return.
    ///
    /// Cancel safe: an abandoned creation is removed, or taken over by the next one.
    ///
    /// # Errors
    ///
    /// Existing collection, maximum of collections or indexes, index that is not ready in time, or an error of the store.
    pub async fn create(&self, name: &CollectionName, schema: Schema) -> Result<Collection, Error> {
        let placement = shared_placement(&schema);
        self.store.ensure_index(name, &placement, self.limits.indexes).await?;
        let reserved = self.store.reserve(&name.tenant).await?;
        let number = u32::try_from(reserved.number).map_err(|_| Error::Corrupt("a tenant's sequence is too large"))?;
        let live = Build { generation: Generation { number, placement }, schema };
        self.store.schedule(name, FIRST_LOOK).await?;
        let draft = self.draft(name, live, reserved).await?;
        // A removal of the name's former collection may be about to strike it from the directory: that ends its claim.
        self.store.schedule(name, Duration::ZERO).await?;
        self.store.open_generation(&draft, &draft.live).await?;
        self.store.fence(&draft, true).await?;
        let opened = self.store.reserve(&name.tenant).await?;
        let open = Definition { revision: opened.number, state: CollectionState::Active, ..draft.clone() };
        match self.store.redefine(draft.revision, &open).await? {
            Defined::Done => {}
            Defined::Missing | Defined::Changed { .. } | Defined::Exists | Defined::Full => {
                return Err(Error::CollectionExists { collection: name.collection.clone() });
            }
        }
        // The index of an empty shape may have been dropped meanwhile.
        self.store.ensure_index(name, &open.live.generation.placement, self.limits.indexes).await?;
        self.definitions.forget(name);
        self.describe(&open).await
    }

    /// Enters the definition of a collection that is not open yet: of several callers, one goes on.
    async fn draft(&self, name: &CollectionName, live: Build, reserved: Reserved) -> Result<Definition, Error> {
        let draft = Definition {
            name: name.clone(),
            revision: reserved.number,
            epoch: reserved.number,
            state: CollectionState::Creating,
            live,
            second: None,
            retired: None,
            retired_since: 0,
            rebuild: None,
            created: reserved.now,
            updated: reserved.now,
        };
        let collection = name.collection.clone();
        match self.store.define(&draft, self.limits.collections).await? {
            Defined::Done => return Ok(draft),
            Defined::Full => return Err(Error::TooManyCollections { limit: self.limits.collections }),
            Defined::Exists | Defined::Missing | Defined::Changed { .. } => {}
        }
        let Some(found) = self.store.definition(name).await? else { return Err(Error::WriteConflict) };
        match found.state {
            CollectionState::Deleting => Err(Error::CollectionDeleting { collection }),
            CollectionState::Creating if reserved.now - found.created > ABANDONED => {
                match self.store.redefine(found.revision, &draft).await? {
                    Defined::Done => Ok(draft),
                    Defined::Missing | Defined::Changed { .. } | Defined::Exists | Defined::Full => {
                        Err(Error::CollectionExists { collection })
                    }
                }
            }
            CollectionState::Active | CollectionState::Creating => Err(Error::CollectionExists { collection }),
        }
    }

    /// Deletes a collection: closes it at once, and leaves its documents to the maintenance. The name is free when they are
    /// gone; until then, a creation is rejected.
    ///
    /// # Errors
    ///
    /// Missing collection, unless `allow_missing`; another etag; or an error of the store.
    pub async fn delete(&self, name: &CollectionName, etag: Option<String>, allow_missing: bool) -> Result<(), Error> {
        let closed = match self.change(name, etag.as_deref(), &Edit::Delete).await {
            Err(Error::CollectionNotFound { .. }) if allow_missing => return Ok(()),
            other => other?,
        };
        self.store.fence(&closed, false).await?;
        self.store.schedule(name, Duration::ZERO).await
    }
}

/// Place of a new collection: the first generation of its shape's shared index.
fn shared_placement(schema: &Schema) -> Placement {
    Placement::shared(Layout::new(schema).shape, 0)
}

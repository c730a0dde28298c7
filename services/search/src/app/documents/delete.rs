//! Deletions.

use keyplane_contracts::names::DocumentName;

use super::lexicon::{BatchId, Changes};
use super::upsert::token;
use super::{ATTEMPTS, Documents};
use crate::domain::{Definition, Deleted, Deletion, Spread};
use crate::error::Error;
use crate::store::documents::{Fenced, Removal, Removed};

// === impl Documents ===

impl Documents {
    /// Deletes a document. A deletion with a version rejects writes of smaller versions for a day. A repetition finds no
    /// document.
    ///
    /// # Errors
    ///
    /// Missing collection; missing document, unless `allow_missing`; another revision, or a larger version, than the deletion's;
    /// or an error of the store.
    pub async fn delete(&self, name: &DocumentName, deletion: &Deletion) -> Result<Deleted, Error> {
        let mut definition = self.definitions.get(&name.collection).await?;
        let partition = Spread::new(&name.collection.collection, &name.document).partition;
        let removal = Removal { id: &name.document, version: deletion.version, revision: deletion.revision };
        for _ in 0..ATTEMPTS {
            match self.store.remove(&definition, partition, &[removal]).await? {
                Fenced::Stale => definition = self.definitions.reload(&name.collection).await?,
                Fenced::Done(mut removed) => {
                    let removed = removed.pop().ok_or(Error::Corrupt("a deletion has no result"))?;
                    return self.deleted(name, deletion, &definition, removed).await;
                }
            }
        }
        Err(Error::WriteConflict)
    }

    async fn deleted(
        &self,
        name: &DocumentName,
        deletion: &Deletion,
        definition: &Definition,
        removed: Removed,
    ) -> Result<Deleted, Error> {
        let missing = || Error::DocumentNotFound { document: name.document.clone() };
        match removed {
            Removed::Gone { existed, terms, second } => {
                let mut changes = Changes::default();
                changes.add(&terms, &second, -1);
                let version = changes.write(&self.store, definition, &BatchId::new(), "-").await;
                if let Err(error) = &version {
                    // Frequencies stay too large until the reconciler's next round.
                    tracing::warn!(%error, "a lexicon could not be corrected after a deletion");
                }
                if !existed && !deletion.allow_missing {
                    return Err(missing());
                }
                Ok(Deleted { existed, freshness: token(definition, version.ok().flatten()) })
            }
            Removed::Older { current } => Err(Error::OlderVersion { current }),
            Removed::Changed { current: None } => Err(missing()),
            Removed::Changed { current: Some(current) } => {
                Err(Error::StaleWrite { resource: "document", current: current.to_string() })
            }
        }
    }
}

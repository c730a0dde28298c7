//! Partial updates: read, merge, write if the document is unchanged.

use std::sync::Arc;

use keyplane_contracts::names::{CollectionName, DocumentName};

use super::prepare::Forms;
use super::upsert::token;
use super::{ATTEMPTS, Documents};
use crate::domain::{Definition, RawPatch, Stored, Written, validate};
use crate::error::Error;
use crate::store::documents::PutResult;

// === impl Documents ===

impl Documents {
    /// Merges a change into a document. Concurrent updates of different fields all survive. A repetition changes nothing.
    ///
    /// # Errors
    ///
    /// Missing collection or document; values that break the schema; another revision, or a larger version, than the change's; a
    /// document that keeps changing; the tenant's maximum of bytes; or an error of the store.
    pub async fn update(&self, name: &DocumentName, raw: &RawPatch) -> Result<Written, Error> {
        let collection = &name.collection;
        let mut definition = self.definitions.get(collection).await?;
        for _ in 0..ATTEMPTS {
            let schema = &definition.live.schema;
            let patch = match validate::patch(schema, raw) {
                Ok(patch) => patch,
                Err(violations) => {
                    definition = self.newer(collection, &definition).await?.ok_or(Error::Invalid(violations))?;
                    continue;
                }
            };
            let Some(stored) = self.load(name, &definition.live).await? else {
                let missing = || Error::DocumentNotFound { document: name.document.clone() };
                definition = self.newer(collection, &definition).await?.ok_or_else(missing)?;
                continue;
            };
            check(raw, &stored)?;
            let document = patch.apply(&stored.document);
            if let Err(violations) = validate::check_text(schema, &document) {
                definition = self.newer(collection, &definition).await?.ok_or(Error::Invalid(violations))?;
                continue;
            }
            let prepared = Forms::new(&definition).replace(&stored, document);
            let room = self.usage.room(&collection.tenant).await?;
            let mut attempted = self.attempt(&definition, std::slice::from_ref(&prepared), room).await;
            match attempted.results.pop().flatten() {
                None => definition = self.definitions.reload(collection).await?,
                Some(Ok(PutResult::Changed { .. })) => {}
                Some(result) => {
                    let token = token(&definition, attempted.version);
                    return self.conclude(&definition, &prepared, result, room, &token);
                }
            }
        }
        Err(Error::WriteConflict)
    }

    /// Definition that is read now, if it is newer than `definition`, which may be a second old.
    async fn newer(&self, name: &CollectionName, definition: &Definition) -> Result<Option<Arc<Definition>>, Error> {
        let newer = self.definitions.reload(name).await?;
        Ok(Some(newer).filter(|newer| newer.epoch != definition.epoch))
    }
}

/// Compares the change with what is stored.
fn check(raw: &RawPatch, stored: &Stored) -> Result<(), Error> {
    if raw.revision.is_some_and(|revision| revision != stored.revision) {
        return Err(Error::StaleWrite { resource: "document", current: stored.revision.to_string() });
    }
    match (raw.version, stored.document.version) {
        (Some(version), Some(current)) if version < current => Err(Error::OlderVersion { current }),
        _ => Ok(()),
    }
}

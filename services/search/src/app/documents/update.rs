//! Partial updates: read, merge, write if the document is unchanged.

use keyplane_contracts::names::DocumentName;

use super::prepare::Forms;
use super::upsert::token;
use super::{ATTEMPTS, Documents};
use crate::domain::{RawPatch, Stored, Written, validate};
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
        let mut definition = self.definitions.get(&name.collection).await?;
        for _ in 0..ATTEMPTS {
            let schema = &definition.live.schema;
            let patch = validate::patch(schema, raw).map_err(Error::Invalid)?;
            let Some(stored) = self.load(name, &definition.live).await? else {
                let newer = self.definitions.reload(&name.collection).await?;
                if newer.epoch == definition.epoch {
                    return Err(Error::DocumentNotFound { document: name.document.clone() });
                }
                definition = newer;
                continue;
            };
            check(raw, &stored)?;
            let document = patch.apply(&stored.document);
            validate::check_text(schema, &document).map_err(Error::Invalid)?;
            let prepared = Forms::new(&definition).prepare(document, Some(stored.revision));
            let room = self.usage.room(&name.collection.tenant).await?;
            let mut attempted = self.attempt(&definition, std::slice::from_ref(&prepared), room).await;
            match attempted.results.pop().flatten() {
                None => definition = self.definitions.reload(&name.collection).await?,
                Some(Ok(PutResult::Changed { .. })) => {}
                Some(result) => {
                    let token = token(&definition, attempted.version);
                    return self.conclude(&definition, &prepared, result, room, &token);
                }
            }
        }
        Err(Error::WriteConflict)
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

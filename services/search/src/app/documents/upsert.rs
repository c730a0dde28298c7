//! Upserts of batches.

use keyplane_contracts::names::CollectionName;

use super::prepare::{Forms, Prepared};
use super::{ATTEMPTS, Documents};
use crate::domain::freshness::Freshness;
use crate::domain::lexicon::LogId;
use crate::domain::{Definition, Document, Outcome, RawDocument, Written};
use crate::error::Error;
use crate::store::documents::{PutResult, Receipt, Room};

/// Documents that are analysed before other calls have their turn.
const TURN: usize = 8;

/// Results of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Result of each document, in the order of the request.
    pub results: Vec<Result<Written, Error>>,
    /// Freshness token: a search that presents it sees all writes of the batch. Empty if none succeeded.
    pub freshness: String,
}

// === impl Documents ===

impl Documents {
    /// Writes whole documents, each in place of one with the same id. An error of one document leaves the others alone. Of
    /// documents with one id, the last wins. At most 1,000 documents.
    ///
    /// Of documents whose write has an unknown outcome, some may be stored; a repetition completes them. Cancel safe in that sense.
    ///
    /// # Errors
    ///
    /// Missing collection, or a store that can't be read.
    pub async fn upsert(&self, name: &CollectionName, documents: Vec<RawDocument>) -> Result<Batch, Error> {
        let mut results: Vec<Option<Result<Written, Error>>> = documents.iter().map(|_| None).collect();
        let mut freshness = String::new();
        let mut definition = self.definitions.get(name).await?;
        for attempt in 1..=ATTEMPTS {
            let open: Vec<usize> = (0..documents.len()).filter(|position| results[*position].is_none()).collect();
            let (positions, prepared) = self.prepare(&definition, &documents, &open, &mut results).await;
            if prepared.is_empty() {
                break;
            }
            let room = self.usage.room(&name.tenant).await?;
            let attempted = self.attempt(&definition, &prepared, room).await;
            let token = token(&definition, attempted.version);
            let mut stale = false;
            for ((position, result), prepared) in positions.into_iter().zip(attempted.results).zip(&prepared) {
                match result {
                    Some(result) => {
                        let written = self.conclude(&definition, prepared, result, room, &token);
                        if written.is_ok() {
                            freshness.clone_from(&token);
                        }
                        results[position] = Some(written);
                    }
                    None => stale = true,
                }
            }
            if !stale || attempt == ATTEMPTS {
                break;
            }
            definition = self.definitions.reload(name).await?;
        }
        let results = results.into_iter().map(|result| result.unwrap_or(Err(Error::WriteConflict))).collect();
        Ok(Batch { results, freshness })
    }

    /// Prepares the open documents; enters the errors of those that break the schema.
    async fn prepare(
        &self,
        definition: &Definition,
        documents: &[RawDocument],
        open: &[usize],
        results: &mut [Option<Result<Written, Error>>],
    ) -> (Vec<usize>, Vec<Prepared>) {
        let forms = Forms::new(definition);
        let (mut positions, mut prepared) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
        for (count, position) in open.iter().enumerate() {
            if count % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            match forms.validate(&documents[*position]) {
                Ok(document) => {
                    positions.push(*position);
                    prepared.push(document);
                }
                Err(error) => results[*position] = Some(Err(error)),
            }
        }
        (positions, prepared)
    }

    /// Result of a document for its caller.
    pub(super) fn conclude(
        &self,
        definition: &Definition,
        prepared: &Prepared,
        result: Result<PutResult, Error>,
        room: Room,
        token: &str,
    ) -> Result<Written, Error> {
        match result? {
            PutResult::Stored(stored) => {
                if stored.receipt.outcome == Outcome::Created {
                    self.usage.add(&definition.name.tenant, prepared.live.body.len());
                }
                Ok(written(&prepared.document, stored.receipt, token))
            }
            PutResult::Older { current } => Err(Error::OlderVersion { current }),
            PutResult::Changed { current } => {
                let current = current.map(|revision| revision.to_string()).unwrap_or_default();
                Err(Error::StaleWrite { resource: "document", current })
            }
            PutResult::Full => Err(self.usage.full(room)),
        }
    }
}

fn written(document: &Document, receipt: Receipt, token: &str) -> Written {
    Written {
        outcome: receipt.outcome,
        revision: receipt.revision,
        version: document.version,
        created: receipt.created,
        updated: receipt.updated,
        expires: document.expires,
        freshness: token.to_owned(),
    }
}

/// Freshness token of writes by `definition`.
pub(super) fn token(definition: &Definition, version: Option<LogId>) -> String {
    let log = version.map_or((0, 0), |version| (version.ms, version.seq));
    let freshness = Freshness { generation: definition.live.generation.number, epoch: definition.epoch, log };
    freshness.encode(&definition.name)
}

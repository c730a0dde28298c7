//! Upserts of batches.

use std::collections::HashSet;

use futures::future::BoxFuture;
use keyplane_contracts::names::CollectionName;

use super::attempt::Attempt;
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

/// Documents that are written together; the next ones are analysed meanwhile.
const GROUP: usize = 500;
/// Documents of a batch's first group: the store has nothing to do while they are analysed.
const FIRST_GROUP: usize = 100;

/// Results of a batch so far.
struct Progress {
    results: Vec<Option<Result<Written, Error>>>,
    /// Positions of documents that break the schema of the last definition.
    rejected: Vec<usize>,
    freshness: String,
}

/// Documents that are written together, with their positions in the batch.
#[derive(Default)]
struct Group {
    positions: Vec<usize>,
    prepared: Vec<Prepared>,
    /// Documents that break the schema.
    rejected: Vec<(usize, Error)>,
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
        self.upsert_after(name, documents, Box::pin(std::future::ready(()))).await
    }

    /// [`Documents::upsert`] that writes nothing until `before` is done: the end of the batch before it in an import. Documents
    /// are analysed meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`Documents::upsert`].
    pub async fn upsert_after(
        &self,
        name: &CollectionName,
        documents: Vec<RawDocument>,
        before: BoxFuture<'static, ()>,
    ) -> Result<Batch, Error> {
        let mut before = Some(before);
        let mut progress = Progress::new(documents.len());
        let mut definition = self.definitions.get(name).await?;
        for attempt in 1..=ATTEMPTS {
            let open = progress.open();
            if open.is_empty() {
                break;
            }
            let room = self.usage.room(&name.tenant).await?;
            let stale = self.pass(&definition, &documents, &open, room, &mut before, &mut progress).await;
            // The first definition may be a second old: a newer one may admit what it rejects.
            let doubtful = attempt == 1 && !progress.rejected.is_empty();
            if attempt == ATTEMPTS || !(stale || doubtful) {
                break;
            }
            let newer = match self.definitions.reload(name).await {
                Ok(newer) => newer,
                // The rejections stand.
                Err(_) if !stale => break,
                Err(error) => return Err(error),
            };
            if newer.epoch != definition.epoch {
                progress.reopen(&documents);
            }
            definition = newer;
        }
        Ok(progress.finish())
    }

    /// Writes the open documents by one definition, group by group; the next group is analysed while one is written. Returns whether
    /// the definition is outdated.
    async fn pass(
        &self,
        definition: &Definition,
        documents: &[RawDocument],
        open: &[usize],
        room: Room,
        before: &mut Option<BoxFuture<'static, ()>>,
        progress: &mut Progress,
    ) -> bool {
        let forms = Forms::new(definition);
        let (first, rest) = open.split_at(FIRST_GROUP.min(open.len()));
        let mut groups = std::iter::once(first).chain(rest.chunks(GROUP));
        let mut group = prepare(&forms, documents, groups.next().unwrap_or_default()).await;
        if let Some(before) = before.take() {
            before.await;
        }
        let mut stale = false;
        loop {
            progress.reject(std::mem::take(&mut group.rejected));
            let writing = self.attempt(definition, &group.prepared, room);
            let Some(following) = groups.next() else {
                let attempted = writing.await;
                return self.enter(definition, &group, attempted, room, progress) || stale;
            };
            let (attempted, prepared) = futures::join!(writing, prepare(&forms, documents, following));
            stale |= self.enter(definition, &group, attempted, room, progress);
            group = prepared;
        }
    }

    /// Enters the results of a group. Returns whether the definition is outdated.
    fn enter(
        &self,
        definition: &Definition,
        group: &Group,
        attempted: Attempt,
        room: Room,
        progress: &mut Progress,
    ) -> bool {
        let token = token(definition, attempted.version);
        let mut stale = false;
        for ((position, prepared), result) in group.positions.iter().zip(&group.prepared).zip(attempted.results) {
            match result {
                Some(result) => {
                    let written = self.conclude(definition, prepared, result, room, &token);
                    progress.enter(*position, written, &token);
                }
                None => stale = true,
            }
        }
        stale
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

// === impl Progress ===

impl Progress {
    fn new(documents: usize) -> Progress {
        Progress { results: (0..documents).map(|_| None).collect(), rejected: Vec::new(), freshness: String::new() }
    }

    /// Positions of the documents without a result.
    fn open(&self) -> Vec<usize> {
        (0..self.results.len()).filter(|position| self.results[*position].is_none()).collect()
    }

    fn reject(&mut self, rejected: Vec<(usize, Error)>) {
        for (position, error) in rejected {
            self.results[position] = Some(Err(error));
            self.rejected.push(position);
        }
    }

    /// Takes back the rejections, and the results of later documents with the same ids: they are written again, so that the last
    /// one wins.
    fn reopen(&mut self, documents: &[RawDocument]) {
        let mut ids = HashSet::new();
        let mut rejected = std::mem::take(&mut self.rejected).into_iter().peekable();
        for (position, document) in documents.iter().enumerate() {
            if rejected.next_if_eq(&position).is_some() {
                ids.insert(&document.id);
            }
            if ids.contains(&document.id) {
                self.results[position] = None;
            }
        }
    }

    fn enter(&mut self, position: usize, written: Result<Written, Error>, token: &str) {
        if written.is_ok() {
            token.clone_into(&mut self.freshness);
        }
        self.results[position] = Some(written);
    }

    fn finish(self) -> Batch {
        let results = self.results.into_iter().map(|result| result.unwrap_or(Err(Error::WriteConflict))).collect();
        Batch { results, freshness: self.freshness }
    }
}

/// Applies the live schema to a group of documents; gives other calls their turn now and then.
async fn prepare(forms: &Forms<'_>, documents: &[RawDocument], positions: &[usize]) -> Group {
    let mut group = Group::default();
    for (count, position) in positions.iter().enumerate() {
        if count % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        match forms.validate(&documents[*position]) {
            Ok(document) => {
                group.positions.push(*position);
                group.prepared.push(document);
            }
            Err(error) => group.rejected.push((*position, error)),
        }
    }
    group
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

//! One attempt to write prepared documents by one definition.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};

use super::Documents;
use super::lexicon::{BatchId, Changes};
use super::prepare::Prepared;
use crate::domain::lexicon::LogId;
use crate::domain::{Definition, Outcome};
use crate::error::Error;
use crate::store::documents::{CHUNK, Fenced, PutResult, Room};

/// Partitions that are written at once.
const PARTITIONS_AT_ONCE: usize = 8;
/// Bytes of a script's documents, unless one alone is larger.
const CHUNK_BYTES: usize = 64 * 1024;
/// Tags of a script's documents, unless one alone has more: each has a counter.
const CHUNK_TAGS: usize = 500;

/// Result of an attempt.
pub(super) struct Attempt {
    /// Result of each document, in order; none if the definition is outdated and nothing was written.
    pub(super) results: Vec<Option<Result<PutResult, Error>>>,
    /// Version of the lexicon with the documents' terms.
    pub(super) version: Option<LogId>,
}

// === impl Documents ===

impl Documents {
    /// Writes documents: terms first, then the documents of all partitions, then the corrections of the lexicon.
    pub(super) async fn attempt(&self, definition: &Definition, documents: &[Prepared], room: Room) -> Attempt {
        if documents.is_empty() {
            return Attempt::stale(0);
        }
        let (batch, mut added) = (BatchId::new(), Changes::default());
        for document in documents {
            bring(&mut added, document, 1);
        }
        let mut version = match added.write(&self.store, definition, &batch, "+").await {
            Ok(Some(version)) => Some(version),
            Ok(None) => {
                // The second generation's lexicon has the terms already.
                let attempt = Attempt::stale(documents.len());
                self.correct(definition, documents, &attempt.results, &batch).await;
                return attempt;
            }
            Err(error) => return Attempt::failed(documents.len(), &error),
        };
        let results = self.write(definition, documents, room).await;
        version = self.correct(definition, documents, &results, &batch).await.or(version);
        Attempt { results, version }
    }

    /// Takes out of the lexicons what the results leave there. Returns the later version of the live one, if it changed.
    async fn correct(
        &self,
        definition: &Definition,
        documents: &[Prepared],
        results: &[Option<Result<PutResult, Error>>],
        batch: &BatchId,
    ) -> Option<LogId> {
        let corrections = corrections(documents, results);
        if corrections.is_empty() {
            return None;
        }
        let written = corrections.write(&self.store, definition, batch, "-").await;
        // Frequencies stay too large until the reconciler's next round.
        written.inspect_err(|error| tracing::warn!(%error, "a lexicon could not be corrected after a batch")).ok()?
    }

    async fn write(
        &self,
        definition: &Definition,
        documents: &[Prepared],
        room: Room,
    ) -> Vec<Option<Result<PutResult, Error>>> {
        let mut partitions: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (position, document) in documents.iter().enumerate() {
            partitions.entry(document.live.spread.partition).or_default().push(position);
        }
        let writes = partitions
            .into_iter()
            .map(|(partition, positions)| self.write_partition(definition, partition, documents, positions, room));
        let mut written = stream::iter(writes).buffer_unordered(PARTITIONS_AT_ONCE);
        let mut results: Vec<Option<Result<PutResult, Error>>> = documents.iter().map(|_| None).collect();
        while let Some(list) = written.next().await {
            for (position, result) in list {
                results[position] = result;
            }
        }
        results
    }

    /// Writes the documents of one partition, chunk by chunk, in their order.
    async fn write_partition(
        &self,
        definition: &Definition,
        partition: u8,
        documents: &[Prepared],
        positions: Vec<usize>,
        room: Room,
    ) -> Vec<(usize, Option<Result<PutResult, Error>>)> {
        let mut results = Vec::with_capacity(positions.len());
        for chunk in chunks(documents, &positions) {
            let puts: Vec<_> = chunk.iter().map(|position| documents[*position].put(room)).collect();
            match self.store.put(definition, partition, &puts).await {
                Ok(Fenced::Done(list)) => {
                    results.extend(chunk.iter().copied().zip(list.into_iter().map(|one| Some(Ok(one)))))
                }
                Ok(Fenced::Stale) => results.extend(chunk.iter().map(|position| (*position, None))),
                Err(error) => results.extend(chunk.iter().map(|position| (*position, Some(Err(copy(&error)))))),
            }
        }
        results
    }
}

// === impl Attempt ===

impl Attempt {
    fn stale(documents: usize) -> Attempt {
        Attempt { results: (0..documents).map(|_| None).collect(), version: None }
    }

    fn failed(documents: usize, error: &Error) -> Attempt {
        Attempt { results: (0..documents).map(|_| Some(Err(copy(error)))).collect(), version: None }
    }
}

/// Adds the terms that documents bring (`by` 1), or takes them out (`by` -1).
fn bring<'a>(changes: &mut Changes<'a>, document: &'a Prepared, by: i64) {
    changes.add_others(&document.live.terms, &document.before, by);
    changes.add("", document.second_terms(), by);
}

/// Terms to take out of the lexicon again.
fn corrections<'a>(documents: &'a [Prepared], results: &'a [Option<Result<PutResult, Error>>]) -> Changes<'a> {
    let mut changes = Changes::default();
    for (document, result) in documents.iter().zip(results) {
        match result {
            Some(Ok(PutResult::Stored(stored))) if stored.receipt.outcome != Outcome::Unchanged => {
                // What both have was not added, if the replaced document was known.
                let kept = if document.before.is_empty() { "" } else { &document.live.terms };
                changes.add_others(&stored.replaced, kept, -1);
                changes.add("", &stored.replaced_second, -1);
            }
            Some(Err(error)) if may_be_written(error) => {}
            Some(_) | None => bring(&mut changes, document, -1),
        }
    }
    changes
}

/// Returns whether documents may have been written in spite of the error: no answer came, or the script failed halfway. A
/// transient error that the store answers comes before the script's first write.
fn may_be_written(error: &Error) -> bool {
    !matches!(error, Error::Store(error) if error.retryable() && !error.outcome_unknown())
}

/// Positions in groups that one script takes.
fn chunks<'a>(documents: &[Prepared], positions: &'a [usize]) -> Vec<&'a [usize]> {
    let (mut chunks, mut start, mut bytes, mut tags) = (Vec::new(), 0, 0, 0);
    for (at, position) in positions.iter().enumerate() {
        let (size, more) = (documents[*position].bytes(), documents[*position].tags());
        if at > start && (at - start == CHUNK || bytes + size > CHUNK_BYTES || tags + more > CHUNK_TAGS) {
            chunks.push(&positions[start..at]);
            (start, bytes, tags) = (at, 0, 0);
        }
        bytes += size;
        tags += more;
    }
    chunks.push(&positions[start..]);
    chunks
}

/// Error of a chunk, for each of its documents.
fn copy(error: &Error) -> Error {
    if let Error::Store(error) = error {
        return Error::Store(error.clone());
    }
    if let Error::Corrupt(what) = error { Error::Corrupt(what) } else { Error::WriteConflict }
}

//! Lexicon of a generation: number of documents with each term, and the log of its changes.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Arg, StreamEntry, script};
use rmp::encode;

use super::Store;
use super::keys::Lexicon;
use crate::domain::lexicon::LogId;
use crate::error::Error;

script!(UPDATE = "search.lexicon", ["scripts/lexicon/update.lua"]);

/// Maximum number of terms that one script changes: it must not block the engine for a millisecond.
const TERMS: usize = 500;
/// Scripts of one change that are sent together.
const SCRIPTS_AT_ONCE: usize = 4;
/// Time for which a batch is known: a repetition within it changes nothing.
const KNOWN: Duration = Duration::from_mins(10);
/// Approximate maximum number of entries of the log.
const LOG: u64 = 2_000;
/// Entries of the log that are read at once.
const LOG_PAGE: u64 = 256;
/// Terms that are read at once, about.
const TERMS_PAGE: u32 = 2_000;

/// Change of a term's number of documents.
pub type Delta = (String, i64);

/// Part of a lexicon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsPage {
    /// Terms with their numbers of documents. A term may come on several pages.
    pub terms: Vec<(String, u32)>,
    /// Cursor of the next page; 0 on the last.
    pub next: u64,
}

/// Changes of a lexicon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRead {
    /// Changes after the given version, oldest first, with the new numbers.
    Changes {
        /// Terms with their numbers of documents; 0 for a term that no document has any more.
        changes: Vec<(String, u32)>,
        /// Version with these changes.
        version: LogId,
        /// True if there are later changes.
        more: bool,
    },
    /// The log no longer reaches back to the given version: load the terms anew.
    Trimmed,
}

// === impl Store ===

impl Store {
    /// Changes the frequencies of terms, 500 in each script. Returns the version that has the changes, or none if the
    /// generation is not open. Idempotent by `batch` for ten minutes; the order of `deltas` must be the same in a repetition.
    ///
    /// # Errors
    ///
    /// Error of the store; a repetition completes the change.
    pub async fn lexicon_update(
        &self,
        name: &CollectionName,
        generation: u32,
        batch: &str,
        deltas: &[Delta],
    ) -> Result<Option<LogId>, Error> {
        let lexicon = Lexicon::new(self.valkey.app(), name, generation);
        if deltas.is_empty() {
            return self.last_entry(&lexicon).await?.map(|entry| log_id(&entry.id)).transpose();
        }
        let mut updates = Vec::with_capacity(deltas.len().div_ceil(TERMS));
        for (number, chunk) in deltas.chunks(TERMS).enumerate() {
            updates.push(self.update_terms(&lexicon, format!("{batch}:{number}"), chunk));
        }
        let versions: Vec<Option<LogId>> = stream::iter(updates).buffered(SCRIPTS_AT_ONCE).try_collect().await?;
        // The latest, unless one finds the generation closed.
        Ok(versions.into_iter().reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten())
    }

    /// Changes the frequencies of some terms with one script. Returns the version that has the changes, if the generation is open.
    async fn update_terms(&self, lexicon: &Lexicon<'_>, id: String, deltas: &[Delta]) -> Result<Option<LogId>, Error> {
        let keys = [lexicon.terms(), lexicon.log(), lexicon.batches()];
        let known = u64::try_from(KNOWN.as_millis()).unwrap_or(u64::MAX);
        let message = message(deltas);
        let args = [Arg::from(&id), Arg::from(known), Arg::from(LOG), Arg::from(&message)];
        let reply = self.valkey.run(&UPDATE, &keys.each_ref(), &args).await?.array()?;
        match reply.as_slice() {
            [status] if status.text()? == "GONE" => Ok(None),
            [_, last] => Ok(Some(log_id(last.text()?)?)),
            _ => Err(Error::Corrupt("a change of a lexicon has another reply")),
        }
    }

    /// Version of a lexicon; `0-0` if the generation is not open.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn lexicon_head(&self, name: &CollectionName, generation: u32) -> Result<LogId, Error> {
        let last = self.last_entry(&Lexicon::new(self.valkey.app(), name, generation)).await?;
        last.map_or(Ok(LogId { ms: 0, seq: 0 }), |entry| log_id(&entry.id))
    }

    /// Reads a part of a lexicon from `cursor`, 0 at first.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn lexicon_terms(&self, name: &CollectionName, generation: u32, cursor: u64) -> Result<TermsPage, Error> {
        let key = Lexicon::new(self.valkey.app(), name, generation).terms();
        let (next, pairs) = self.valkey.hscan(&key, cursor, TERMS_PAGE).await?;
        let terms = pairs.iter().map(|(term, number)| term_of(term, number)).collect::<Result<_, _>>()?;
        Ok(TermsPage { terms, next })
    }

    /// Reads changes of a lexicon after the version `after`.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn lexicon_log(&self, name: &CollectionName, generation: u32, after: LogId) -> Result<LogRead, Error> {
        let key = Lexicon::new(self.valkey.app(), name, generation).log();
        let beginning = after == LogId { ms: 0, seq: 0 };
        let from = if beginning { "-".to_owned() } else { after.to_string() };
        let entries = self.valkey.xrange(&key, &from, "+", LOG_PAGE).await?;
        let Some((first, rest)) = entries.split_first() else { return Ok(LogRead::Trimmed) };
        let field = |wanted: &str| first.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let later = if beginning && field("init").is_some() || !beginning && log_id(&first.id)? == after {
            rest
        } else if field("p").is_some_and(|before| *before == from) {
            // The log was trimmed up to here.
            &entries
        } else {
            return Ok(LogRead::Trimmed);
        };
        let mut changes = Vec::new();
        for entry in later {
            append(entry, &mut changes)?;
        }
        let version = log_id(&entries.last().unwrap_or(first).id)?;
        Ok(LogRead::Changes { changes, version, more: u64::try_from(entries.len()).is_ok_and(|read| read == LOG_PAGE) })
    }

    async fn last_entry(&self, lexicon: &Lexicon<'_>) -> Result<Option<StreamEntry>, Error> {
        Ok(self.valkey.xrevrange(&lexicon.log(), "+", "-", 1).await?.pop())
    }
}

fn log_id(text: &str) -> Result<LogId, Error> {
    LogId::parse(text).ok_or(Error::Corrupt("a lexicon's log has another form of id"))
}

/// Terms and changes as an array in MessagePack.
fn message(deltas: &[Delta]) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 * deltas.len());
    // Writing to a vector never fails.
    let _ = encode::write_array_len(&mut message, u32::try_from(2 * deltas.len()).unwrap_or(u32::MAX));
    for (term, by) in deltas {
        let _ = encode::write_str(&mut message, term);
        let _ = encode::write_sint(&mut message, *by);
    }
    message
}

/// Appends the changes of an entry: `term US frequency`, with RS between.
fn append(entry: &StreamEntry, changes: &mut Vec<(String, u32)>) -> Result<(), Error> {
    for (name, value) in &entry.fields {
        if name == "d" {
            for change in value.split(|byte| *byte == 0x1e) {
                let at = change.iter().position(|byte| *byte == 0x1f).ok_or(DAMAGED)?;
                changes.push(term_of(&change[..at], &change[at + 1..])?);
            }
        }
    }
    Ok(())
}

const DAMAGED: Error = Error::Corrupt("a lexicon has another form of term");

fn term_of(term: &[u8], number: &[u8]) -> Result<(String, u32), Error> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DAMAGED);
    let number: i64 = text(number)?.parse().map_err(|_| DAMAGED)?;
    Ok((text(term)?, u32::try_from(number.max(0)).unwrap_or(u32::MAX)))
}

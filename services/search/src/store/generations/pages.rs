//! Enumeration of a generation's documents, by ranges of their numbers.

use std::ops::{Bound, Range};

use bytes::Bytes;
use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::ErrorKind;
use keyplane_valkey::ft::{Attribute, Condition, Query, Row, Rows, Scope, Search, Token};

use super::{Size, Store};
use crate::domain::spread::Spread;
use crate::domain::{self, Build, Document, Placement, Schema, body};
use crate::error::Error;

/// Hash fields of a whole document.
const DOCUMENT: [Attribute; 5] =
    [Attribute::new("_v"), Attribute::new("_b"), Attribute::new("_w"), Attribute::new("_x"), ID];
/// Hash field of an id that the key lacks.
const ID: Attribute = Attribute::new("_i");
/// First and last number of documents of a page, after which the ranges get wider or narrower.
const GOOD: Range<usize> = 32..160;
/// Bytes of a page, after which the ranges get narrower.
const GOOD_BYTES: u64 = 1 << 20;
/// Documents of a page that a walk begins with, about.
const FIRST: u64 = 100;
/// Maximum of documents of a page whose range can't get narrower.
const WHOLE: u32 = 10_000;
/// Maximum of documents of a page.
const PAGE: u32 = 256;
/// Maximum of timeouts in a row, each answered by a narrower range.
const TIMEOUTS: u32 = 4;

/// Document of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Document, by the generation's schema.
    pub document: Document,
    /// Revision.
    pub revision: i64,
}

/// Walk over the documents of a partition, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Walk {
    partition: u8,
    next: u64,
    end: u64,
    width: u64,
}

// === impl Walk ===

impl Walk {
    /// Walk over a partition of about this size, from the number `from` or its first one.
    #[must_use]
    pub fn new(partition: u8, size: Size, from: Option<u64>) -> Walk {
        let first = u64::from(Spread::first(partition));
        let whole = 1_u64 << 28;
        let pages = (size.documents / FIRST).max(size.bytes / GOOD_BYTES) + 1;
        let next = from.unwrap_or(first).max(first);
        Walk { partition, next, end: first + whole, width: (whole / pages).max(1) }
    }

    /// Partition of the walk.
    #[must_use]
    pub fn partition(&self) -> u8 {
        self.partition
    }

    /// First number that was not walked over.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Next documents of the generation, perhaps none; `None` at the end of the partition. Each document that exists during
    /// the whole walk is returned once.
    ///
    /// # Errors
    ///
    /// Error of the store, or a document that this service never writes.
    pub async fn step(
        &mut self,
        store: &Store,
        name: &CollectionName,
        build: &Build,
    ) -> Result<Option<Vec<Found>>, Error> {
        let Some(rows) = self.rows(store, name, &build.generation.placement, &DOCUMENT).await? else { return Ok(None) };
        rows.into_iter().filter_map(|row| found(&build.schema, row).transpose()).collect::<Result<_, _>>().map(Some)
    }

    /// Ids of the next documents, whatever the documents hold; else as [`Walk::step`].
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn ids(
        &mut self,
        store: &Store,
        name: &CollectionName,
        placement: &Placement,
    ) -> Result<Option<Vec<Id>>, Error> {
        let Some(rows) = self.rows(store, name, placement, &[ID]).await? else { return Ok(None) };
        let id = |row: Row| id(row.id, row.fields.into_iter().next().flatten());
        rows.into_iter().map(id).collect::<Result<_, _>>().map(Some)
    }

    /// Rows of the next range.
    async fn rows(
        &mut self,
        store: &Store,
        name: &CollectionName,
        placement: &Placement,
        fields: &[Attribute],
    ) -> Result<Option<Vec<Row>>, Error> {
        let mut timeouts = 0;
        while self.next < self.end {
            let until = (self.next + self.width).min(self.end);
            let limit = if self.width == 1 { WHOLE } else { PAGE };
            let rows = match store.rows(name, placement, fields, self.next..until, limit).await {
                Err(error) if is_timeout(&error) && timeouts < TIMEOUTS && self.width > 1 => {
                    timeouts += 1;
                    self.width = (self.width / 4).max(1);
                    continue;
                }
                rows => rows?,
            };
            if rows.total > u64::from(limit) && self.width > 1 {
                self.width = (self.width / 2).max(1);
                continue;
            }
            self.next = until;
            self.adapt(&rows.rows);
            return Ok(Some(rows.rows));
        }
        Ok(None)
    }

    /// Adapts the width of the ranges to a page.
    fn adapt(&mut self, rows: &[Row]) {
        let bytes = rows.iter().flat_map(|row| &row.fields).flatten().map(|field| field.len() as u64).sum::<u64>();
        if rows.len() > GOOD.end || bytes > GOOD_BYTES {
            self.width = (self.width / 2).max(1);
        } else if rows.len() < GOOD.start && bytes < GOOD_BYTES / 4 {
            self.width = (self.width * 2).min(1 << 28);
        }
    }
}

// === impl Store ===

impl Store {
    /// Reads at most `limit` documents whose number is in `range`, with one search.
    async fn rows(
        &self,
        name: &CollectionName,
        placement: &Placement,
        fields: &[Attribute],
        range: Range<u64>,
        limit: u32,
    ) -> Result<Rows, Error> {
        let tag = Token::tag(domain::Scope::new(name).as_str());
        let tag = tag.map_err(|_| Error::Corrupt("a scope is no token"))?;
        let range = Condition::Range(
            Attribute::new("_r"),
            Bound::Included(bound(range.start)),
            Bound::Excluded(bound(range.end)),
        );
        let query = Query::new(Scope { attribute: Attribute::new("_s"), tag }).and(&range);
        let index = self.index(placement);
        let search = Search { index: &index, query: &query, fields, limit };
        Ok(self.valkey.search(&search).await?)
    }
}

fn is_timeout(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.kind() == ErrorKind::Timeout)
}

/// Document of a row; `None` if it vanished during the search.
fn found(schema: &Schema, row: Row) -> Result<Option<Found>, Error> {
    let mut texts = row.fields.into_iter().map(|field| field.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    let mut next = || texts.next().flatten();
    let damaged = || Error::Corrupt("a document is damaged");
    let number = |text: Option<String>| text.map(|text| text.parse().map_err(|_| damaged())).transpose();
    let (revision, stored) = (number(next())?, next());
    let (Some(revision), Some(stored)) = (revision, stored) else { return Ok(None) };
    let (version, expires) = (number(next())?, number(next())?);
    let id = id(row.id, next().map(Bytes::from))?;
    let fields = body::read(schema, &stored).map_err(|_| damaged())?;
    Ok(Some(Found { document: Document { id, fields, version, expires }, revision }))
}

/// Id of a row: in its key, or in a field if the key has only its hash.
fn id(key: Option<String>, field: Option<Bytes>) -> Result<Id, Error> {
    let id = key.or_else(|| Some(String::from_utf8_lossy(&field?).into_owned()));
    id.and_then(|id| Id::parse(&id, "id").ok()).ok_or(Error::Corrupt("a document has no id"))
}

#[expect(clippy::cast_precision_loss, reason = "numbers are within 2^33")]
fn bound(number: u64) -> f64 {
    number as f64
}

//! Enumeration of a generation's documents, by ranges of their numbers.

use std::ops::{Bound, Range};

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::ft::{Attribute, Condition, Query, Row, Scope, Search, Token};

use super::Store;
use crate::domain::spread::Spread;
use crate::domain::{self, Build, Document, Schema, body};
use crate::error::Error;

const FIELDS: [Attribute; 6] = [
    Attribute::new("_v"),
    Attribute::new("_b"),
    Attribute::new("_w"),
    Attribute::new("_x"),
    Attribute::new("_k"),
    Attribute::new("_i"),
];
/// First and last number of documents of a page, after which the ranges get wider or narrower.
const GOOD: Range<usize> = 32..160;
/// Maximum of documents of a page whose range can't get narrower.
const WHOLE: u32 = 10_000;
/// Maximum of documents of a page.
pub(crate) const PAGE: u32 = 256;

/// Documents of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Number of documents in the range; larger than that of `documents` if the range is too wide.
    pub total: u64,
    /// Documents, in no particular order.
    pub documents: Vec<Found>,
}

/// Document of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Document, by the generation's schema.
    pub document: Document,
    /// Revision.
    pub revision: i64,
    /// Length of the stored body, in bytes.
    pub bytes: usize,
    /// Terms in the lexicon, with spaces between them.
    pub terms: String,
}

/// Walk over the documents of a partition, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Walk {
    next: u64,
    end: u64,
    width: u64,
}

// === impl Store ===

impl Store {
    /// Reads at most `limit` documents whose number is in `range`, with one search.
    ///
    /// # Errors
    ///
    /// Error of the store, or a document that this service never writes.
    pub async fn page(
        &self,
        name: &CollectionName,
        build: &Build,
        range: Range<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        let tag = Token::tag(domain::Scope::new(name).as_str());
        let tag = tag.map_err(|_| Error::Corrupt("a scope is no token"))?;
        let range = Condition::Range(
            Attribute::new("_r"),
            Bound::Included(bound(range.start)),
            Bound::Excluded(bound(range.end)),
        );
        let query = Query::new(Scope { attribute: Attribute::new("_s"), tag }).and(&range);
        let index = self.index(&build.generation.placement);
        let search = Search { index: &index, query: &query, fields: &FIELDS, order: None, offset: 0, limit };
        let rows = self.valkey.search(&search).await?;
        let found = |row: Row| found(&build.schema, row).transpose();
        let documents = rows.rows.into_iter().filter_map(found).collect::<Result<_, _>>()?;
        Ok(Page { total: rows.total, documents })
    }
}

// === impl Walk ===

impl Walk {
    /// Walk over a partition of some `documents`, from the number `from` or its first one.
    #[must_use]
    pub fn new(partition: u8, documents: u64, from: Option<u64>) -> Walk {
        let first = u64::from(Spread::first(partition));
        let size = 1_u64 << 28;
        let width = (size / (documents / 100 + 1)).max(1);
        Walk { next: from.unwrap_or(first).max(first), end: first + size, width }
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
        while self.next < self.end {
            let until = (self.next + self.width).min(self.end);
            let limit = if self.width == 1 { WHOLE } else { PAGE };
            let page = store.page(name, build, self.next..until, limit).await?;
            if page.total > u64::from(limit) && self.width > 1 {
                self.width = (self.width / 2).max(1);
                continue;
            }
            self.next = until;
            if page.documents.len() < GOOD.start {
                self.width = (self.width * 2).min(1 << 28);
            } else if page.documents.len() > GOOD.end {
                self.width = (self.width / 2).max(1);
            }
            return Ok(Some(page.documents));
        }
        Ok(None)
    }
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
    let terms = next().unwrap_or_default();
    let id = row.id.or_else(next).and_then(|id| Id::parse(&id, "id").ok()).ok_or_else(damaged)?;
    let fields = body::read(schema, &stored).map_err(|_| damaged())?;
    let document = Document { id, fields, version, expires };
    Ok(Some(Found { document, revision, bytes: stored.len(), terms }))
}

#[expect(clippy::cast_precision_loss, reason = "numbers are within 2^33")]
fn bound(number: u64) -> f64 {
    number as f64
}

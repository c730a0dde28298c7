//! Rows of the index as hits: expiry, words, filter and order are checked on each.

use std::cmp::Ordering;

use super::order::OrderField;
use super::prepare::Prepared;
use crate::app::planner::windows::compare;
use crate::app::samples::spread;
use crate::domain::packed::Packed;
use crate::domain::rank::{Candidate, RankRules, Ranker, by_relevance};
use crate::domain::result::ScoreTerm;
use crate::store::Row;

/// Document that matches, with its place in the order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Row of the index.
    pub(super) row: Row,
    /// Hash of the id.
    pub(super) spread: u32,
    /// Keys of the order's fields, then the hash; empty among ranked hits.
    pub(super) tuple: Vec<f64>,
    /// Score; 0 among hits that are ordered by fields.
    pub(super) score: f64,
}

/// Checks of one search on rows.
pub(super) struct Sift<'a> {
    prepared: &'a Prepared,
    ranker: Option<Ranker<'a>>,
    rank_by: Option<OrderField>,
    now: i64,
}

// === impl Sift ===

impl<'a> Sift<'a> {
    /// Checks, with scores if `is_ranked`, for a collection of so many documents; expiry at `now`, ages for the score at `reference`, both in milliseconds
    /// since 1970.
    pub(super) fn new(prepared: &'a Prepared, is_ranked: bool, documents: u64, now: i64, reference: i64) -> Sift<'a> {
        let ranker = prepared.text.as_ref().filter(|text| is_ranked || text.is_checked).map(|text| {
            let rank_by = prepared.profile.schema.rank_by.as_ref();
            Ranker::new(&text.query, RankRules { documents, weights: &text.weights, rank_by, now: reference })
        });
        Sift { prepared, ranker, rank_by: OrderField::raised(&prepared.profile), now }
    }

    /// Score of a row that has not expired and has the query's words; none for another. The filter is not checked.
    pub(super) fn score(&mut self, row: &Row, values: &Packed<'_>) -> Option<f64> {
        if row.expires.is_some_and(|expires| expires <= self.now) {
            return None;
        }
        let (Some(ranker), Some(text)) = (&mut self.ranker, &self.prepared.text) else { return Some(0.0) };
        let texts = texts(&text.columns, row);
        let rank_by = self.rank_by.as_ref().and_then(|field| field.value(values));
        let score = ranker.score(&Candidate { texts: &texts, rank_by })?;
        Some(if self.prepared.is_ranked { score } else { 0.0 })
    }

    /// Entry of a row that matches; none for another.
    pub(super) fn entry(&mut self, row: Row) -> Option<Entry> {
        let values = Packed::read(&row.packed).ok()?;
        if !self.prepared.filter.matches(&values) {
            return None;
        }
        let score = self.score(&row, &values)?;
        let (spread, tuple) = self.place(&row, &values);
        Some(Entry { row, spread, tuple, score })
    }

    /// Hash of a row's id, and its tuple in the order of fields; empty in a ranked search.
    pub(super) fn place(&self, row: &Row, values: &Packed<'_>) -> (u32, Vec<f64>) {
        let spread = spread(&self.prepared.profile.place.name, &row.id);
        let keys = || self.prepared.order.iter().map(|field| field.key(values));
        let tuple = if self.prepared.is_ranked { Vec::new() } else { keys().chain([f64::from(spread)]).collect() };
        (spread, tuple)
    }

    /// Parts of an entry's score.
    pub(super) fn explain(&mut self, entry: &Entry) -> Vec<ScoreTerm> {
        let (Some(ranker), Some(text)) = (&mut self.ranker, &self.prepared.text) else { return Vec::new() };
        let Ok(values) = Packed::read(&entry.row.packed) else { return Vec::new() };
        let rank_by = self.rank_by.as_ref().and_then(|field| field.value(&values));
        ranker.explain(&Candidate { texts: &texts(&text.columns, &entry.row), rank_by })
    }
}

// === impl Entry ===

impl Entry {
    /// Order by fields: tuple, then id.
    pub(super) fn by_fields(&self, other: &Entry) -> Ordering {
        compare(&self.tuple, &other.tuple).then_with(|| self.row.id.cmp(&other.row.id))
    }

    /// Order by relevance: score, then hash, then id.
    pub(super) fn by_score(&self, other: &Entry) -> Ordering {
        by_relevance((self.score, self.spread, &self.row.id), (other.score, other.spread, &other.row.id))
    }
}

/// Term streams of a row by column; streams that are no UTF-8 count as empty.
fn texts<'r>(columns: &[u8], row: &'r Row) -> Vec<(u8, &'r str)> {
    let texts = columns.iter().zip(&row.texts);
    texts.filter_map(|(column, text)| Some((*column, std::str::from_utf8(text.as_deref()?).ok()?))).collect()
}

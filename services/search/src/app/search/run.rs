//! Run of one search: its figures, its calls to the index, and what they found.

use std::time::Instant;

use super::Search;
use super::measure::Measure;
use super::prepare::Prepared;
use super::sift::{Entry, Sift};
use super::trace::Trace;
use crate::app::samples::Figures;
use crate::domain::Clause;
use crate::domain::cursor::{Cut, Position, TierCut};
use crate::domain::request::SearchRequest;
use crate::domain::result::{Candidates, Facet, Found};
use crate::error::Error;
use crate::store::{AnyOf, Counters, Find, Matches};

/// Documents beyond a page that are found for it, in place of those that vanish before they are loaded.
const SPARE: usize = 2;

/// Run of one search.
pub(super) struct Run<'a> {
    pub(super) search: &'a Search,
    pub(super) request: &'a SearchRequest,
    pub(super) prepared: &'a Prepared,
    pub(super) figures: &'a Figures,
    /// Counters of tags, if the search may be answered from them.
    pub(super) counters: Option<&'a Counters>,
    /// Time of the search, in milliseconds since 1970.
    pub(super) now: i64,
    pub(super) trace: &'a Trace,
}

/// Call to the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'c> {
    pub(super) clause: &'c Clause,
    pub(super) words: &'c [AnyOf],
    /// Range of the ids' hashes.
    pub(super) spread: Option<(u32, u32)>,
    /// True if scores are computed from the rows.
    pub(super) is_ranked: bool,
    /// Maximum number of rows; 0 only counts.
    pub(super) limit: u32,
}

/// Hits that were found, before they are loaded.
#[derive(Debug, Default)]
pub(super) struct Hits {
    /// Hits after the cursor, in order: those of the page, and some more if there are.
    pub(super) entries: Vec<Entry>,
    /// Candidates of the ranking.
    pub(super) candidates: Option<Candidates>,
    /// Parts of the tiers that became candidates.
    pub(super) cuts: Vec<TierCut>,
    /// Number of matches, if all of them became candidates.
    pub(super) all: Option<u64>,
}

/// Counts that were made.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Number of matches.
    pub(super) found: Option<Found>,
    /// Facets, in no order.
    pub(super) facets: Vec<Facet>,
}

// === impl Run ===

impl<'a> Run<'a> {
    /// Searches the index, and notes it as a step.
    pub(super) async fn find(&self, step: &str, call: Call<'_>) -> Result<Matches, Error> {
        self.call(step, call, false).await
    }

    /// Searches the index for documents that are only counted, and notes it as a step.
    pub(super) async fn find_values(&self, step: &str, call: Call<'_>) -> Result<Matches, Error> {
        self.call(step, call, true).await
    }

    async fn call(&self, step: &str, call: Call<'_>, is_counted: bool) -> Result<Matches, Error> {
        if call.clause.is_never() {
            return Ok(Matches::default());
        }
        let start = Instant::now();
        let profile = &self.prepared.profile;
        let text = self.prepared.text.as_ref();
        let columns = text.map_or(&[][..], |text| &text.columns);
        let is_read = text.is_some_and(|text| call.is_ranked || text.is_checked);
        let find = Find {
            scope: &profile.scope,
            clause: call.clause,
            words: call.words,
            not_words: text.map_or(&[], |text| &text.not_words),
            not_columns: columns,
            spread: call.spread,
            texts: if is_read { columns } else { &[] },
            limit: call.limit,
        };
        let (store, placement) = (&self.search.store, &profile.place.placement);
        let matches = match is_counted {
            true => store.find_values(placement, &find).await?,
            false => store.find(placement, &find).await?,
        };
        self.trace.found(step, start, &matches);
        Ok(matches)
    }

    /// Words that every match has.
    pub(super) fn words(&self) -> &'a [AnyOf] {
        let last = self.prepared.text.as_ref().and_then(|text| text.tiers.last());
        last.map_or(&[], |tier| &tier.words)
    }

    /// Checks on rows, with the time of the first page for the scores.
    pub(super) fn sift(&self) -> Sift<'a> {
        Sift::new(self.prepared, self.prepared.is_ranked, self.figures.totals.documents, self.now, self.reference())
    }

    /// Checks on rows that are only counted.
    pub(super) fn counting_sift(&self) -> Sift<'a> {
        Sift::new(self.prepared, false, self.figures.totals.documents, self.now, self.reference())
    }

    /// Time that ages count from, in milliseconds since 1970: that of the first page.
    pub(super) fn reference(&self) -> i64 {
        match self.position() {
            Some(Position::Score { now, .. }) => *now,
            Some(Position::Fields { .. }) | None => self.now,
        }
    }

    /// Position of the cursor.
    pub(super) fn position(&self) -> Option<&'a Position> {
        self.prepared.cursor.as_ref().map(|cursor| &cursor.position)
    }

    /// Returns whether the first page ranked a part of the matches: the pages after it rank the same part.
    pub(super) fn has_cuts(&self) -> bool {
        match self.position() {
            Some(Position::Score { cuts, .. }) => cuts.iter().any(|cut| cut.cut != Cut::None),
            Some(Position::Fields { .. }) | None => false,
        }
    }

    /// Hits to find: those of the page, one that tells of a next page, and some that replace vanished ones.
    pub(super) fn wanted(&self) -> usize {
        usize::try_from(self.request.page_size).unwrap_or(usize::MAX).saturating_add(1 + SPARE)
    }

    /// Hits of all matches.
    pub(super) fn choose(&self, entries: Vec<Entry>) -> Hits {
        if self.prepared.is_ranked { self.ranked(entries) } else { self.sorted(entries) }
    }

    /// Measure of the search, on the sample if it is large enough to need one.
    pub(super) async fn measure(&self, limit: u64) -> Result<Measure, Error> {
        let documents = self.figures.totals.documents;
        let rough = Measure::new(self.prepared, self.figures, None);
        let is_small = rough.estimates.siblings.upper.max(rough.estimates.fetched.upper)
            <= crate::domain::estimate::to_float(limit);
        if is_small {
            return Ok(rough);
        }
        let sample = self.search.samples.sample(&self.prepared.profile.place, documents).await?;
        Ok(Measure::new(self.prepared, self.figures, Some(&sample)))
    }
}

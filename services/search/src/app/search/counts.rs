//! Counts: the number of matches, and facets, from the source that the plan names.

use futures::future::try_join_all;

use super::measure::{self, Measure};
use super::run::{Call, Counted, Run};
use super::sift::{Entry, Sift};
use crate::app::planner::{Counts, Plan};
use crate::domain::estimate::scale_up;
use crate::domain::facets::{self, Basis, FacetPlan, Tally};
use crate::domain::packed::Packed;
use crate::domain::request::FacetRequest;
use crate::domain::result::{Facet, Found};
use crate::domain::{Clause, Token, spread};
use crate::error::Error;
use crate::store::Row;

/// Most documents of a sample or a slice that one call returns.
const ROWS: u32 = 12_000;
/// Documents of a sample that turned out too large.
const RESAMPLE: f64 = 600.0;
/// Documents of a part that one call counts.
const COUNTED: f64 = 50_000.0;
/// Number at which valkey-search stops to count, without a word.
const UNCOUNTED: u64 = 100_000;

/// Parts of the hash's range that are still to be read. A part that holds too much is divided.
struct Parts {
    left: Vec<(u32, u32)>,
    /// Most documents of a part.
    limit: u64,
}

// === impl Run ===

impl Run<'_> {
    /// Counts whatever the plan does not take from the fetched matches.
    pub(super) async fn count(&self, plan: &Plan, measure: &Measure) -> Result<Counted, Error> {
        let is_read = |counts| matches!(counts, Counts::Sample(_) | Counts::Slices(_));
        let (plain, selected) = (&self.prepared.plain, &self.prepared.selected);
        match (is_read(plan.counts), is_read(plan.siblings)) {
            (true, true) if plan.one_read => self.read(&self.request.facets, plan.siblings, &measure.siblings).await,
            (true, true) => {
                let siblings = self.read(selected, plan.siblings, &measure.siblings);
                let plain = self.read(plain, plan.counts, &measure.clause);
                let (siblings, plain) = tokio::try_join!(siblings, plain)?;
                Ok(Counted { found: plain.found, facets: self.merge(plain.facets, siblings.facets) })
            }
            (true, false) => self.read(plain, plan.counts, &measure.clause).await,
            (false, true) => {
                let siblings = self.read(selected, plan.siblings, &measure.siblings);
                let (siblings, number) = tokio::try_join!(siblings, self.number(plan.counts, measure))?;
                Ok(Counted { found: number.found, facets: self.merge(number.facets, siblings.facets) })
            }
            (false, false) => self.number(plan.counts, measure).await,
        }
    }

    /// Facets in the order of the request.
    pub(super) fn merge(&self, plain: Vec<Facet>, selected: Vec<Facet>) -> Vec<Facet> {
        let (mut plain, mut selected) = (plain.into_iter(), selected.into_iter());
        let is_selected = |facet: &FacetRequest| self.prepared.selected.iter().any(|other| other.field == facet.field);
        let facets = self.request.facets.iter();
        facets.filter_map(|facet| if is_selected(facet) { selected.next() } else { plain.next() }).collect()
    }

    /// Estimate held to the counters: all of a collection is their number exactly, a part of it is no more.
    pub(super) fn within_totals(&self, found: Found) -> Found {
        let documents = self.figures.totals.documents;
        let is_whole = self.prepared.text.is_none() && self.prepared.filter.is_empty();
        match found.margin {
            0 => found,
            _ if is_whole => Found { count: documents, margin: 0 },
            margin => Found { count: found.count.min(documents), margin },
        }
    }

    /// Exact counts of the rows of all documents that match the query, and the entries of those that pass the filter too.
    pub(super) fn tally(&self, facets: &[FacetRequest], rows: Vec<Row>) -> Result<(Counted, Vec<Entry>), Error> {
        let plan = self.facet_plan(facets)?;
        let (mut tally, mut sift, mut entries) = (Tally::new(&plan), self.sift(), Vec::new());
        let is_wanted = self.request.page_size > 0;
        for row in rows {
            let Ok(values) = Packed::read(&row.packed) else { continue };
            let Some(score) = sift.score(&row, &values) else { continue };
            if tally.add(&values) && is_wanted {
                let (spread, tuple) = sift.place(&row, &values);
                entries.push(Entry { row, spread, tuple, score });
            }
        }
        let found = tally.found(Basis::Exact);
        Ok((Counted { found: Some(found), facets: tally.finish(Basis::Exact) }, entries))
    }

    fn facet_plan(&self, facets: &[FacetRequest]) -> Result<FacetPlan, Error> {
        // The request's facets were checked before.
        FacetPlan::new(facets, &self.prepared.profile.schema, &self.prepared.filter)
            .map_err(|_| Error::Corrupt("a checked facet is invalid"))
    }

    /// Number of matches without their documents, and facets from the counters.
    async fn number(&self, counts: Counts, measure: &Measure) -> Result<Counted, Error> {
        let found = match counts {
            Counts::Nothing | Counts::Direct | Counts::Sample(_) | Counts::Slices(_) => return Ok(Counted::default()),
            Counts::Counters => {
                let facets = self.prepared.plain.iter().map(|facet| self.counted_facet(facet)).collect();
                let found = Found { count: self.figures.totals.documents, margin: 0 };
                return Ok(Counted { found: Some(found), facets });
            }
            Counts::Number => Found { count: self.counted(measure).await?, margin: 0 },
            Counts::SampledNumber(share) => {
                let last = spread::last(share);
                let call = Call {
                    clause: &measure::whole(self.prepared),
                    words: self.words(),
                    spread: Some((0, last)),
                    is_ranked: false,
                    limit: 0,
                };
                let seen = self.find("count", call).await?.total;
                let (count, margin) = scale_up(seen, spread::share(last));
                Found { count, margin }
            }
        };
        Ok(Counted { found: Some(found), facets: Vec::new() })
    }

    /// Number of matches, exact: counted in parts that the engine counts whole.
    async fn counted(&self, measure: &Measure) -> Result<u64, Error> {
        let wanted = (measure.estimates.fetched.upper / COUNTED).ceil().clamp(1.0, 4096.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is within 1 to 4096")]
        let mut parts = Parts::new(wanted as u32, UNCOUNTED - 1);
        let clause = measure::whole(self.prepared);
        let count = |part: (u32, u32)| {
            let spread = (part != (0, u32::MAX)).then_some(part);
            self.find("count", Call { clause: &clause, words: self.words(), spread, is_ranked: false, limit: 0 })
        };
        let mut sum = 0;
        while !parts.left.is_empty() {
            let together = std::mem::take(&mut parts.left);
            let answers = try_join_all(together.iter().copied().map(count)).await?;
            for (part, matches) in together.into_iter().zip(answers) {
                if parts.holds(part, matches.total) {
                    sum += matches.total;
                }
            }
        }
        Ok(sum)
    }

    /// Counts of the documents in a part of the hash's range, or in all of it.
    async fn read(&self, facets: &[FacetRequest], counts: Counts, clause: &Clause) -> Result<Counted, Error> {
        let plan = self.facet_plan(facets)?;
        let mut sift = self.counting_sift();
        let share = match counts {
            Counts::Slices(number) => {
                let tally = self.slices(&plan, number, clause, &mut sift).await?;
                return Ok(Counted { found: Some(tally.found(Basis::Exact)), facets: tally.finish(Basis::Exact) });
            }
            Counts::Sample(share) => share,
            Counts::Nothing | Counts::Direct | Counts::Counters | Counts::Number | Counts::SampledNumber(_) => 1.0,
        };
        let mut last = spread::last(share);
        loop {
            let spread = (last < u32::MAX).then_some((0, last));
            let call = Call { clause, words: self.words(), spread, is_ranked: false, limit: ROWS / 4 };
            let matches = self.find_values("sample", call).await?;
            if matches.total > u64::from(call.limit) {
                last = spread::last(spread::share(last) * RESAMPLE / crate::domain::estimate::to_float(matches.total));
                continue;
            }
            let mut tally = Tally::new(&plan);
            add(&mut tally, &matches.rows, &mut sift);
            let basis = || if last == u32::MAX { Basis::Exact } else { Basis::Fraction(spread::share(last)) };
            return Ok(Counted { found: Some(tally.found(basis())), facets: tally.finish(basis()) });
        }
    }

    /// Counts of all documents, slice by slice: one call at a time keeps the engine free for others.
    async fn slices<'p>(
        &self,
        plan: &'p FacetPlan,
        number: u32,
        clause: &Clause,
        sift: &mut Sift<'_>,
    ) -> Result<Tally<'p>, Error> {
        let (mut tally, mut parts) = (Tally::new(plan), Parts::new(number, u64::from(ROWS)));
        while let Some(part) = parts.left.pop() {
            let call = Call { clause, words: self.words(), spread: Some(part), is_ranked: false, limit: ROWS };
            let matches = self.find_values("slice", call).await?;
            if parts.holds(part, matches.total) {
                add(&mut tally, &matches.rows, sift);
            }
        }
        Ok(tally)
    }

    /// Facet of a tag from the collection's counters.
    fn counted_facet(&self, facet: &FacetRequest) -> Facet {
        let tokens = measure::tokens(self.prepared, self.counters, facet);
        let value = |(token, count)| Token::decode(token).map(|value| (value, count));
        facets::counted(facet, tokens.filter_map(value))
    }
}

/// Adds the rows that match the query; the tally applies the filter.
fn add(tally: &mut Tally<'_>, rows: &[Row], sift: &mut Sift<'_>) {
    for row in rows {
        if let Ok(values) = Packed::read(&row.packed)
            && sift.score(row, &values).is_some()
        {
            tally.add(&values);
        }
    }
}

// === impl Parts ===

impl Parts {
    /// Adjacent ranges of hashes, both ends included, of at most `limit` documents each.
    fn new(number: u32, limit: u64) -> Parts {
        let number = u64::from(number.max(1));
        let bound = |at: u64| u32::try_from((at << 32) / number).unwrap_or(u32::MAX);
        let part = |at: u64| (bound(at), if at + 1 == number { u32::MAX } else { bound(at + 1) - 1 });
        Parts { left: (0..number).map(part).collect(), limit }
    }

    /// Returns whether the answer to a part holds all of its documents; else the part's halves are to be read. One hash is not
    /// divided.
    fn holds(&mut self, (first, last): (u32, u32), total: u64) -> bool {
        let is_whole = total <= self.limit || first == last;
        if !is_whole {
            let middle = first + (last - first) / 2;
            self.left.extend([(middle + 1, last), (first, middle)]);
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_hash_once() {
        for number in [1, 2, 3, 7, 4096] {
            let parts = Parts::new(number, 10).left;
            assert_eq!((parts[0].0, parts[parts.len() - 1].1), (0, u32::MAX));
            assert!(parts.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{number}");
            assert!(parts.iter().all(|(first, last)| first <= last));
        }
    }

    #[test]
    fn part_that_is_not_counted_whole_is_divided() {
        let mut parts = Parts::new(1, UNCOUNTED - 1);
        assert!(parts.holds((0, u32::MAX), 99_999) && !parts.holds((0, u32::MAX), UNCOUNTED));
        assert_eq!(parts.left, [(0, u32::MAX), (1 << 31, u32::MAX), (0, (1 << 31) - 1)]);
        assert!(parts.holds((7, 7), UNCOUNTED), "documents of one hash are a few");
    }
}

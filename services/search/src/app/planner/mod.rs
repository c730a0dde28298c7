//! Planner: chooses the calls that answer a search, from estimates and the engine's costs. Pure.
//!
//! | matches | order by fields | relevance | facets, `found` |
//! |---|---|---|---|
//! | few | all fetched, sorted here | all fetched, ranked here | from the same documents, exact |
//! | many | [`windows`] of the first order field | tiers of candidates, the best first | sample of the hash's range, scaled |
//! | all of the collection | windows | windows | counters, exact |
//!
//! On request, everything is exact: the rest is then read in slices of the hash's range.

mod costs;
mod ladder;
mod tiers;
pub mod windows;

pub use costs::Costs;
pub use ladder::{Ladder, Rung};
pub use tiers::{CANDIDATES, TierWords, candidates, fit, tier_upto, tier_words};

use crate::domain::estimate::{Estimate, to_float};

/// Documents of a sample for facets.
const SAMPLE: f64 = 300.0;
/// Most documents of a sample, when a filter admits few of them.
const MAX_SAMPLE: f64 = 600.0;
/// Documents of a slice, when everything is read.
const SLICE: f64 = 4_000.0;
/// Share of the limit that an estimate may reach: it is wrong now and then, and a second fetch costs more than it saves.
const CAUTION: f64 = 0.7;

/// Numbers of documents that a search concerns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimates {
    /// Documents of the collection.
    pub documents: u64,
    /// Documents that match the query and the filter.
    pub matches: Estimate,
    /// Documents that the engine returns for them: conditions that are checked here admit more.
    pub fetched: Estimate,
    /// Documents that the engine returns without the conditions on the counted fields themselves.
    pub siblings: Estimate,
    /// Documents that pass the filter without these conditions.
    pub sibling_matches: Estimate,
    /// Bytes that are read of each document.
    pub row_bytes: u64,
}

/// Request, in what decides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of hits.
    pub hits: Wish,
    /// True if a facet counts a field without conditions on it.
    pub facets: bool,
    /// True if a facet counts a field that the filter has conditions on: its siblings count too.
    pub siblings: bool,
    /// True if counters hold everything that is counted: no query, no filter, no numeric facet.
    pub from_counters: bool,
    /// True if no query and no filter leaves a document out.
    pub unfiltered: bool,
    /// True if the engine's count is that of the matches: no condition is checked here.
    pub countable: bool,
    /// True if everything must be exact.
    pub exact: bool,
}

/// Hits that are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// None: counts alone.
    Nothing,
    /// Hits in the order of fields.
    Sorted,
    /// Hits in the order of their scores.
    Ranked,
}

/// Calls that answer a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Source of the hits.
    pub hits: Hits,
    /// Source of facets without conditions on their fields, and of `found`.
    pub counts: Counts,
    /// Source of facets with conditions on their fields.
    pub siblings: Counts,
    /// True if documents that are read for `siblings` serve `counts` too.
    pub one_read: bool,
    /// Most documents that a direct fetch returns.
    pub direct_limit: u32,
}

/// Source of the hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// No hits.
    Nothing,
    /// All matches, fetched.
    Direct,
    /// Windows of the order.
    Windows,
    /// Tiers of candidates.
    Tiers,
}

/// Source of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counts {
    /// Nothing is counted.
    Nothing,
    /// Documents of the direct fetch.
    Direct,
    /// Counters of the collection.
    Counters,
    /// Number of the engine's matches.
    Number,
    /// Number of matches in this share of the hash's range.
    SampledNumber(f64),
    /// Documents of this share of the hash's range.
    Sample(f64),
    /// All documents, read in this number of slices.
    Slices(u32),
}

/// Plans a search. O(1).
#[must_use]
pub fn plan(estimates: &Estimates, request: &Request, costs: &Costs) -> Plan {
    let limit = costs.direct_rows(estimates.row_bytes);
    let fits = |estimate: Estimate| estimate.upper <= to_float(limit) || estimate.likely() <= CAUTION * to_float(limit);
    let everything_fits = fits(if request.siblings { estimates.siblings } else { estimates.fetched });
    let is_direct =
        if request.from_counters && request.hits == Wish::Nothing { false } else { fits(estimates.fetched) };
    let hits = match request.hits {
        Wish::Nothing => Hits::Nothing,
        _ if is_direct => Hits::Direct,
        Wish::Sorted => Hits::Windows,
        Wish::Ranked => Hits::Tiers,
    };
    let counts = if is_direct { Counts::Direct } else { counts(estimates, request, costs) };
    let siblings = match (request.siblings, everything_fits) {
        (false, _) => Counts::Nothing,
        (true, true) => Counts::Direct,
        (true, false) => rows(estimates.siblings, estimates.sibling_matches, request.exact),
    };
    // Of a sample of siblings that are far more than the matches, hardly any match.
    let one_read = request.exact || 2.0 * estimates.fetched.likely() >= estimates.siblings.likely();
    // An estimate that was too low is no reason to read much more than planned.
    let direct_limit = u32::try_from(limit + limit / 4).unwrap_or(u32::MAX);
    Plan { hits, counts, siblings, one_read, direct_limit }
}

/// Source of the counts, when the matches are too many to fetch.
fn counts(estimates: &Estimates, request: &Request, costs: &Costs) -> Counts {
    if request.from_counters || (request.unfiltered && !request.facets) {
        return Counts::Counters;
    }
    if request.facets {
        return rows(estimates.fetched, estimates.matches, request.exact);
    }
    match request.countable {
        true if request.exact || estimates.fetched.likely() <= to_float(costs.counted()) => Counts::Number,
        true => Counts::SampledNumber(share(estimates.fetched, 4.0 * SAMPLE)),
        false => rows(estimates.fetched, estimates.matches, request.exact),
    }
}

/// Documents to fetch for counts of those among them that pass the conditions which are checked here.
fn rows(fetched: Estimate, passing: Estimate, exact: bool) -> Counts {
    if exact {
        let slices = (fetched.upper / SLICE).ceil().clamp(1.0, 4096.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is within 1 to 4096")]
        return Counts::Slices(slices as u32);
    }
    // Of a large sample that these conditions thin out, enough remains.
    let thinning = (fetched.likely() / passing.likely().max(1.0)).clamp(1.0, MAX_SAMPLE / SAMPLE);
    Counts::Sample(share(fetched, SAMPLE * thinning))
}

/// Share of the hash's range with about `wanted` of the documents.
fn share(fetched: Estimate, wanted: f64) -> f64 {
    (wanted / fetched.likely().max(1.0)).min(1.0)
}

#[cfg(test)]
mod tests;

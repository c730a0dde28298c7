use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::FixedState;

use super::super::packed::{Packed, Slot};
use super::super::result::{Facet, FacetCount, Found, RangeCount, Stats};
use super::histogram::Histogram;
use super::interval::{Estimate, estimate};
use super::{Basis, FacetPlan, PlannedFacet, order};

/// Counts of a search's facets and matches over some documents.
#[derive(Clone, Debug)]
pub struct Tally<'p> {
    plan: &'p FacetPlan,
    documents: u64,
    matches: u64,
    facets: Vec<Counted>,
}

/// Documents that count for one facet.
#[derive(Clone, Debug)]
struct Counted {
    /// Number of documents, with a value or without.
    documents: u64,
    counts: Counts,
}

/// Counts of one facet.
#[derive(Clone, Debug)]
enum Counts {
    Tags(HashMap<CompactString, u64, FixedState>),
    Numbers(Numbers),
}

#[derive(Clone, Debug)]
struct Numbers {
    ranges: Vec<u64>,
    histogram: Option<Histogram>,
    count: u64,
    stats: Stats,
}

/// Result of the filter for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    /// Fails by the selections on one field, and by nothing else.
    FailsOn(usize),
    Fails,
}

// === impl Tally ===

impl<'p> Tally<'p> {
    /// Tally of no documents.
    #[must_use]
    pub fn new(plan: &'p FacetPlan) -> Tally<'p> {
        let facets = plan.facets.iter().map(|facet| Counted { documents: 0, counts: Counts::new(facet) }).collect();
        Tally { plan, documents: 0, matches: 0, facets }
    }

    /// Counts a document that matches the query. The filter is applied here: wholly to the matches, to each facet without the
    /// facet's own selection. Returns whether the document passes. Takes less than a microsecond for a few facets and comparisons.
    pub fn add(&mut self, values: &Packed<'_>) -> bool {
        self.documents += 1;
        let verdict = self.verdict(values);
        self.matches += u64::from(verdict == Verdict::Passes);
        for (facet, counted) in self.plan.facets.iter().zip(&mut self.facets) {
            if verdict == Verdict::Passes || verdict == Verdict::FailsOn(facet.position) {
                counted.documents += 1;
                counted.counts.add(values.get(facet.position), &facet.request.ranges);
            }
        }
        verdict == Verdict::Passes
    }

    /// Number of documents that match the search.
    #[must_use]
    pub fn found(&self, basis: Basis) -> Found {
        let Estimate { count, low, high, .. } = estimate(self.matches, self.documents, basis);
        Found { count, margin: (high - count).max(count - low) }
    }

    /// Facets in the order of the request.
    #[must_use]
    pub fn finish(self, basis: Basis) -> Vec<Facet> {
        let basis = basis.settled();
        let facets = self.plan.facets.iter().zip(self.facets);
        facets.map(|(facet, counted)| counted.finish(facet, basis)).collect()
    }

    fn verdict(&self, values: &Packed<'_>) -> Verdict {
        let mut verdict = Verdict::Passes;
        for conjunct in self.plan.filter.conjuncts() {
            if conjunct.matches(values) {
                continue;
            }
            verdict = match (verdict, conjunct.field()) {
                (Verdict::Passes, Some(field)) => Verdict::FailsOn(field),
                (Verdict::FailsOn(other), Some(field)) if field == other => verdict,
                (Verdict::Passes | Verdict::FailsOn(_) | Verdict::Fails, _) => return Verdict::Fails,
            };
        }
        verdict
    }
}

// === impl Counted ===

impl Counted {
    fn finish(self, facet: &PlannedFacet, basis: Basis) -> Facet {
        let approximate = basis != Basis::Exact;
        let sample = if approximate { u32::try_from(self.documents).unwrap_or(u32::MAX) } else { 0 };
        let scale = |seen: u64| estimate(seen, self.documents, basis);
        Facet { approximate, sample, ..self.counts.finish(facet, scale) }
    }
}

// === impl Counts ===

impl Counts {
    fn new(facet: &PlannedFacet) -> Counts {
        if !facet.is_numeric {
            return Counts::Tags(HashMap::default());
        }
        let interval = facet.request.interval;
        Counts::Numbers(Numbers {
            ranges: vec![0; facet.request.ranges.len()],
            histogram: (interval > 0.0).then(|| Histogram::new(interval)),
            count: 0,
            stats: Stats { min: f64::INFINITY, max: f64::NEG_INFINITY, avg: 0.0 },
        })
    }

    fn add(&mut self, value: Slot<'_>, ranges: &[(f64, f64)]) {
        match self {
            Counts::Tags(counts) => value.tags().for_each(|tag| count(counts, tag)),
            Counts::Numbers(numbers) => {
                if let Some(number) = value.number() {
                    numbers.add(number, ranges);
                }
            }
        }
    }

    fn finish(self, facet: &PlannedFacet, scale: impl Fn(u64) -> Estimate) -> Facet {
        let mut result = Facet {
            field: facet.request.field.clone(),
            values: Vec::new(),
            ranges: Vec::new(),
            histogram: Vec::new(),
            stats: None,
            approximate: false,
            sample: 0,
        };
        match self {
            Counts::Tags(counts) => {
                let value = |(value, seen): (CompactString, u64)| {
                    let Estimate { count, low, high, rough } = scale(seen);
                    FacetCount { value: value.into_string(), count, interval: (low, high), rough }
                };
                result.values = counts.into_iter().map(value).collect();
                order(&mut result.values, facet.request.max_values);
            }
            Counts::Numbers(numbers) => {
                let range = |(from, to, seen)| {
                    let Estimate { count, low, high, .. } = scale(seen);
                    RangeCount { from, to, count, interval: (low, high) }
                };
                let ranges = facet.request.ranges.iter().zip(&numbers.ranges);
                result.ranges = ranges.map(|((from, to), seen)| range((*from, *to, *seen))).collect();
                let buckets = numbers.histogram.iter().flat_map(Histogram::counts);
                result.histogram = buckets.map(range).collect();
                result.stats = (facet.request.stats && numbers.count > 0).then_some(numbers.stats);
            }
        }
        result
    }
}

fn count(counts: &mut HashMap<CompactString, u64, FixedState>, tag: &str) {
    match counts.get_mut(tag) {
        Some(count) => *count += 1,
        None => {
            counts.insert(CompactString::new(tag), 1);
        }
    }
}

// === impl Numbers ===

impl Numbers {
    #[expect(clippy::cast_precision_loss, reason = "numbers of documents are below 2^53")]
    fn add(&mut self, number: f64, ranges: &[(f64, f64)]) {
        for (count, (from, to)) in self.ranges.iter_mut().zip(ranges) {
            *count += u64::from(*from <= number && number < *to);
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.add(number);
        }
        self.count += 1;
        self.stats.min = self.stats.min.min(number);
        self.stats.max = self.stats.max.max(number);
        // Divided before it is added: no sum that could overflow.
        let all = self.count as f64;
        self.stats.avg += number / all - self.stats.avg / all;
    }
}

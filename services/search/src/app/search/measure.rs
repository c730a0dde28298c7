//! Measurement of a search on the sample: how many documents match, and which conditions the engine is sent.

use super::order::OrderField;
use super::prepare::Prepared;
use crate::app::planner::{Estimates, Request, Wish};
use crate::app::samples::{Figures, Sample};
use crate::domain::estimate::{Estimate, Share, to_float};
use crate::domain::filter::Conjunct;
use crate::domain::packed::Packed;
use crate::domain::request::{FacetRequest, SearchRequest};
use crate::domain::{Clause, Column, Token};
use crate::store::Counters;

/// Bytes of the conditions in a query of the index.
const CLAUSE_BYTES: usize = 2_560;
/// Excess of documents that makes a numeric range worth sending: the first, and each further one, which costs more.
const EXCESS: [f64; 2] = [2.0, 6.0];
/// Bytes of a document's packed values, assumed of an empty sample.
const PACKED_BYTES: u64 = 100;

/// Measurement of a search.
#[derive(Debug)]
pub(super) struct Measure {
    /// Numbers of documents.
    pub(super) estimates: Estimates,
    /// Condition for the engine.
    pub(super) clause: Clause,
    /// Condition for the engine, without those on the counted fields themselves.
    pub(super) siblings: Clause,
    /// Order's keys and hashes of the sampled documents that pass the filter.
    pub(super) tuples: Vec<Vec<f64>>,
    /// Values that raise the scores of these documents, the largest first; only for a ranked search.
    raising: Vec<f64>,
}

/// Fewest documents of a sample that a quantile is taken from.
const QUANTILE: usize = 50;

/// Conjuncts of the filter that each sampled document passes, as bits.
struct Passes {
    rows: Vec<u64>,
    population: f64,
    text: Estimate,
}

/// Findings on the sample.
struct Read {
    passes: Passes,
    tuples: Vec<Vec<f64>>,
    raising: Vec<f64>,
    packed_bytes: u64,
}

// === impl Measure ===

impl Measure {
    /// Measures a search. Without a sample, the filter might admit everything. Linear in the sample and the conditions.
    pub(super) fn new(prepared: &Prepared, figures: &Figures, sample: Option<&Sample>) -> Measure {
        let documents = figures.totals.documents;
        let population = to_float(documents);
        let last = prepared.text.as_ref().and_then(|text| text.tiers.last());
        let text = last.map_or_else(|| Estimate::exact(population), |tier| tier.estimate(population));
        let Read { passes, tuples, raising, packed_bytes } = read(prepared, sample, population, text);
        let conjuncts = &prepared.clauses.conjuncts;
        let all = mask(conjuncts, |_| true);
        let base =
            mask(conjuncts, |conjunct| conjunct.field.is_none_or(|field| !prepared.selected_fields.contains(&field)));
        let first = if prepared.is_ranked { None } else { prepared.order.first().map(|field| field.position) };
        // A range of the field that windows divide anyway costs nothing.
        let free = mask(conjuncts, |conjunct| first.is_some() && conjunct.field == first);
        let sent = passes.choose(conjuncts, all, free & all);
        let sent_siblings = passes.choose(conjuncts, base, 0);
        let bound = tag_bound(conjuncts, figures);
        let capped =
            |estimate: Estimate| Estimate { expected: estimate.expected.min(bound), upper: estimate.upper.min(bound) };
        let texts = prepared.text.as_ref().filter(|text| prepared.is_ranked || text.is_checked);
        let text_bytes = texts.map_or(0, |_| figures.totals.text_bytes / documents.max(1));
        let estimates = Estimates {
            documents,
            matches: capped(passes.estimate(all)),
            fetched: capped(passes.estimate(sent)),
            siblings: passes.estimate(sent_siblings),
            sibling_matches: passes.estimate(base),
            row_bytes: packed_bytes + text_bytes,
        };
        let (clause, siblings) = (clause(conjuncts, sent), clause(conjuncts, sent_siblings));
        Measure { estimates, clause, siblings, tuples, raising }
    }

    /// Least of the values that raise scores among the top `share` of the matches; none if the sample can't tell, or many
    /// documents have that value.
    pub(super) fn raised(&self, share: f64) -> Option<f64> {
        let sampled = self.raising.len();
        if sampled < QUANTILE {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "at most some thousand"
        )]
        let wanted = ((share * sampled as f64) as usize).max(1);
        let least = *self.raising.get(wanted - 1)?;
        let admitted = self.raising.partition_point(|value| *value >= least);
        (admitted <= wanted + wanted / 2 + 1).then_some(least)
    }

    /// Takes the number that the engine counted for a fetch that was planned too small.
    pub(super) fn correct(&mut self, total: u64, of_siblings: bool) {
        let exact = Estimate::exact(to_float(total));
        if of_siblings {
            self.estimates.siblings = exact;
            self.estimates.fetched.upper = self.estimates.fetched.upper.min(exact.upper);
        } else {
            self.estimates.fetched = exact;
            self.estimates.siblings.upper = self.estimates.siblings.upper.max(exact.upper);
            self.estimates.siblings.expected = self.estimates.siblings.expected.max(exact.expected);
        }
    }
}

// === impl Passes ===

impl Passes {
    /// Documents that match the query and pass these conjuncts.
    fn estimate(&self, conjuncts: u64) -> Estimate {
        let share = Share { matched: self.count(conjuncts), sampled: self.rows.len() as u64 };
        if conjuncts == 0 { self.text } else { Estimate::all(self.population, [self.text, share.of(self.population)]) }
    }

    fn count(&self, conjuncts: u64) -> u64 {
        self.rows.iter().filter(|passed| *passed & conjuncts == conjuncts).count() as u64
    }

    /// Conjuncts of `wanted` that the engine is sent: all without ranges, `free` ones, and the most selective ranges as long
    /// as they pay.
    fn choose(&self, conjuncts: &[Conjunct], wanted: u64, free: u64) -> u64 {
        let plain = mask(conjuncts, |conjunct| conjunct.clause.ranges() == 0) & wanted;
        let mut sent = fitting(conjuncts, plain | free);
        let matched = to_float(self.count(wanted)).max(1.0);
        let mut thresholds = EXCESS.into_iter().chain(std::iter::repeat(EXCESS[1]));
        loop {
            let excess = to_float(self.count(sent)) / matched;
            if thresholds.next().is_none_or(|threshold| excess < threshold) {
                return sent;
            }
            let others = (0..conjuncts.len()).map(|at| 1_u64 << at).filter(|bit| wanted & !sent & bit != 0);
            let Some(best) = others.min_by_key(|bit| self.count(sent | bit)) else { return sent };
            let more = fitting(conjuncts, sent | best);
            if more == sent {
                return sent;
            }
            sent = more;
        }
    }
}

/// Request as the planner sees it.
pub(super) fn request(prepared: &Prepared, request: &SearchRequest, counters: Option<&Counters>) -> Request {
    let unfiltered = prepared.text.is_none() && prepared.filter.is_empty();
    let tags_only = prepared.plain.iter().all(|facet| is_in_counters(prepared, counters, facet));
    Request {
        hits: match (request.page_size, prepared.is_ranked) {
            (0, _) => Wish::Nothing,
            (_, true) => Wish::Ranked,
            (_, false) => Wish::Sorted,
        },
        facets: !prepared.plain.is_empty(),
        siblings: !prepared.selected.is_empty(),
        from_counters: unfiltered && tags_only,
        unfiltered,
        countable: prepared.text.as_ref().is_none_or(|text| !text.is_checked)
            && prepared.clauses.split(usize::MAX, CLAUSE_BYTES).exact,
        exact: request.exact,
    }
}

/// Returns whether the counters have every value of a facet: long ones are hashed there.
fn is_in_counters(prepared: &Prepared, counters: Option<&Counters>, facet: &FacetRequest) -> bool {
    let is_tag = prepared.profile.schema.field(facet.field.as_str()).is_some_and(|(_, field)| field.kind.is_tag());
    let mut tokens = tokens(prepared, counters, facet);
    let is_known = |token: &str| token == Token::missing().as_str() || Token::decode(token).is_some();
    is_tag
        && counters.is_some_and(|counters| counters.values.is_some())
        && tokens.all(|(token, count)| count == 0 || is_known(token))
}

/// Tokens of a facet's field, with their numbers of documents.
pub(super) fn tokens<'a>(
    prepared: &Prepared,
    counters: Option<&'a Counters>,
    facet: &FacetRequest,
) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
    let profile = &prepared.profile;
    let position = profile.schema.field(facet.field.as_str()).map(|(position, _)| position);
    let column = position.and_then(|position| profile.layout.columns.get(position).copied().flatten());
    let counts = counters.and_then(|counters| counters.values.as_ref()).zip(column);
    let counts = counts.and_then(|(columns, column)| match column {
        Column::Tag(ordinal) => columns.get(&ordinal),
        Column::Text(_) | Column::Number(_) => None,
    });
    counts.into_iter().flatten().map(|(token, count)| (token.as_str(), *count))
}

/// Returns whether the counters may answer the search: every document matches, and tags alone are counted.
pub(super) fn is_for_counters(prepared: &Prepared) -> bool {
    let is_tag = |facet: &FacetRequest| {
        prepared.profile.schema.field(facet.field.as_str()).is_some_and(|(_, field)| field.kind.is_tag())
    };
    prepared.text.is_none()
        && prepared.filter.is_empty()
        && !prepared.plain.is_empty()
        && prepared.plain.iter().all(is_tag)
}

/// Whole condition of the filter, for the engine's own count.
pub(super) fn whole(prepared: &Prepared) -> Clause {
    prepared.clauses.split(usize::MAX, CLAUSE_BYTES).engine
}

/// Reads the sample: conjuncts that each document passes, tuples of those that pass all, and bytes of a document.
fn read(prepared: &Prepared, sample: Option<&Sample>, population: f64, text: Estimate) -> Read {
    let conjuncts = &prepared.clauses.conjuncts;
    let exprs = prepared.filter.conjuncts();
    let all = mask(conjuncts, |_| true);
    let (mut rows, mut tuples, mut raising, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let raised = OrderField::raised(&prepared.profile).filter(|_| prepared.is_ranked);
    for row in sample.map_or(&[][..], |sample| &sample.rows) {
        let Ok(values) = Packed::read(&row.packed) else { continue };
        bytes += row.packed.len() as u64;
        let passed = mask(conjuncts, |conjunct| exprs.get(conjunct.position).is_none_or(|expr| expr.matches(&values)));
        rows.push(passed);
        if passed & all != all {
            continue;
        }
        if prepared.is_ranked {
            raising.extend(raised.as_ref().and_then(|field| field.value(&values)));
        } else {
            let keys = prepared.order.iter().map(|field| field.key(&values));
            tuples.push(keys.chain([f64::from(row.spread)]).collect());
        }
    }
    raising.sort_unstable_by(|one, other| other.total_cmp(one));
    let packed_bytes = bytes.checked_div(rows.len() as u64).unwrap_or(PACKED_BYTES);
    Read { passes: Passes { rows, population, text }, tuples, raising, packed_bytes }
}

/// Bits of the conjuncts that have a property; a filter has at most 64 comparisons.
fn mask(conjuncts: &[Conjunct], has: impl Fn(&Conjunct) -> bool) -> u64 {
    let bits = conjuncts.iter().take(64).enumerate().filter(|(_, conjunct)| has(conjunct));
    bits.fold(0, |mask, (at, _)| mask | 1 << at)
}

fn clause(conjuncts: &[Conjunct], sent: u64) -> Clause {
    let chosen = conjuncts.iter().enumerate().filter(|(at, _)| *at < 64 && sent & (1 << at) != 0);
    Clause::all(chosen.map(|(_, conjunct)| conjunct.clause.clone()))
}

/// Conjuncts, in their order, that fit into a query of the index.
fn fitting(conjuncts: &[Conjunct], wanted: u64) -> u64 {
    let mut left = CLAUSE_BYTES;
    let fits = |conjunct: &Conjunct| conjunct.clause.size();
    (0..conjuncts.len().min(64)).filter(|at| wanted & (1 << at) != 0).fold(0, |sent, at| {
        let size = fits(&conjuncts[at]);
        if size > left {
            return sent;
        }
        left -= size;
        sent | 1 << at
    })
}

/// Most documents that the filter admits, by the counters of its tags.
fn tag_bound(conjuncts: &[Conjunct], figures: &Figures) -> f64 {
    let known = figures.counters.as_ref().and_then(|counters| counters.values.as_ref());
    let Some(values) = known else { return f64::INFINITY };
    let bound = |conjunct: &Conjunct| match &conjunct.clause {
        Clause::Tag(Column::Tag(column), tokens) => {
            let counts = values.get(column);
            let count = |token: &Token| counts.and_then(|counts| counts.get(token.as_str())).copied();
            Some(to_float(tokens.iter().filter_map(count).sum()))
        }
        Clause::Tag(..) | Clause::Range(..) | Clause::All(_) | Clause::Any(_) | Clause::Not(_) => None,
    };
    conjuncts.iter().filter_map(bound).fold(f64::INFINITY, f64::min)
}

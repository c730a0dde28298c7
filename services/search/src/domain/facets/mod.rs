//! Facets: counts of values, ranges and buckets, and figures of numbers; exact from all documents, estimated from a sample.
//!
//! A facet is disjunctive: its counts leave out the filter's selection on its own field, so that a selected value's siblings
//! keep their counts. The selection is every conjunct of the filter that tests this field and no other.

mod histogram;
mod interval;
mod tally;
#[cfg(test)]
mod tests;

use super::filter::Filter;
use super::request::FacetRequest;
use super::result::{Facet, FacetCount};
use super::schema::{Field, Schema};

pub use tally::Tally;

/// Facets of a search, checked against a schema, with the filter of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetPlan {
    facets: Vec<PlannedFacet>,
    filter: Filter,
}

/// Relation of the counted documents to those that the counts are about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// Every document was counted.
    Exact,
    /// Each document was counted with this probability, above 0; 1 or more is exact. The number of documents need not be known.
    Fraction(f64),
}

/// Rule that a facet of a request breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facets[{index}].{member}: {rule}")]
pub struct FacetFault {
    /// Position in the request.
    pub index: usize,
    /// Part of the request.
    pub member: &'static str,
    /// Rule, and the mend.
    pub rule: String,
}

#[derive(Clone, Debug, PartialEq)]
struct PlannedFacet {
    request: FacetRequest,
    position: usize,
    is_numeric: bool,
}

// === impl Basis ===

impl Basis {
    /// Basis of a sample, [`Basis::Exact`] if it is all there is.
    fn settled(self) -> Basis {
        match self {
            Basis::Fraction(fraction) if fraction < 1.0 => self,
            Basis::Exact | Basis::Fraction(_) => Basis::Exact,
        }
    }
}

// === impl FacetPlan ===

impl FacetPlan {
    /// Greatest number of buckets of a histogram. Beyond it, the width is doubled until the buckets fit.
    pub const MAX_BUCKETS: usize = 1000;

    /// Checks the facets of a request.
    ///
    /// # Errors
    ///
    /// Every rule that a facet breaks.
    pub fn new(requests: &[FacetRequest], schema: &Schema, filter: &Filter) -> Result<FacetPlan, Vec<FacetFault>> {
        let mut facets = Vec::with_capacity(requests.len());
        let mut faults = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let mut add = |member, rule: &str| faults.push(FacetFault { index, member, rule: rule.to_owned() });
            match schema.field(request.field.as_str()) {
                None => add("field", "the collection has no field of this name"),
                Some((_, field)) if !is_facet(field) => {
                    add("field", "the field must be a tag, a boolean, a number or a timestamp with facet set");
                }
                Some((position, field)) => {
                    let is_numeric = field.kind.is_numeric();
                    check(request, is_numeric, &mut add);
                    facets.push(PlannedFacet { request: request.clone(), position, is_numeric });
                }
            }
        }
        if faults.is_empty() { Ok(FacetPlan { facets, filter: filter.clone() }) } else { Err(faults) }
    }
}

fn is_facet(field: &Field) -> bool {
    field.facet && (field.kind.is_tag() || field.kind.is_numeric())
}

fn check(request: &FacetRequest, is_numeric: bool, add: &mut impl FnMut(&'static str, &str)) {
    if !is_numeric {
        let parts =
            [("ranges", !request.ranges.is_empty()), ("interval", request.interval != 0.0), ("stats", request.stats)];
        for (member, _) in parts.into_iter().filter(|(_, is_set)| *is_set) {
            add(member, "must not be set for tags and booleans; it is for numbers and timestamps");
        }
    }
    // Comparisons with NaN are false.
    if !request.ranges.iter().all(|(from, to)| from < to) {
        add("ranges", "each range must begin below its end");
    }
    if !(request.interval >= 0.0 && request.interval.is_finite()) {
        add("interval", "must be a positive number, or 0 for no histogram");
    }
}

/// Exact facet of a tag field from counts of its values, as the collection's counters have them.
#[must_use]
pub fn counted(request: &FacetRequest, counts: impl IntoIterator<Item = (String, u64)>) -> Facet {
    let value = |(value, count)| FacetCount { value, count, interval: (count, count), rough: false };
    let mut values: Vec<FacetCount> = counts.into_iter().filter(|(_, count)| *count > 0).map(value).collect();
    order(&mut values, request.max_values);
    Facet {
        field: request.field.clone(),
        values,
        ranges: Vec::new(),
        histogram: Vec::new(),
        stats: None,
        approximate: false,
        sample: 0,
    }
}

/// Keeps the values with the most documents, in order.
fn order(values: &mut Vec<FacetCount>, max: u32) {
    values.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    values.truncate(usize::try_from(max).unwrap_or(usize::MAX));
}

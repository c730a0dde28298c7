//! Result of a search as a message.

use keyplane_contracts::names::CollectionName;
use keyplane_contracts::search::v1 as pb;

use super::reply::{count, document};
use crate::domain::result::{Facet, FacetCount, Hit, RangeCount, SearchResult, Step};

/// Result as a message.
pub(in crate::grpc) fn search_result(collection: &CollectionName, result: SearchResult) -> pb::SearchDocumentsResponse {
    use pb::search_documents_response::Relation;
    let relation = if result.found.margin == 0 { Relation::Exact } else { Relation::Estimated };
    pb::SearchDocumentsResponse {
        hits: result.hits.into_iter().map(|found| hit(collection, found)).collect(),
        found: count(result.found.count),
        found_relation: relation.into(),
        found_margin: count(result.found.margin),
        facets: result.facets.into_iter().map(facet).collect(),
        next_page_token: result.next_page_token,
        corpus_changed: result.corpus_changed,
        candidates: result.candidates.map(|candidates| pb::Candidates {
            ranked_count: count(candidates.ranked.into()),
            max_count: count(candidates.cap.into()),
            capped: candidates.capped,
        }),
        plan: result.plan.map(|plan| pb::Plan { steps: plan.steps.into_iter().map(step).collect() }),
    }
}

fn hit(collection: &CollectionName, hit: Hit) -> pb::Hit {
    let highlights = hit.highlights.into_iter().map(|highlight| pb::Highlight {
        field: highlight.field.as_str().to_owned(),
        text: highlight.text,
        snippet: highlight.snippet,
    });
    let parts =
        hit.terms.into_iter().map(|term| pb::ScorePart { name: term.name, detail: term.detail, value: term.value });
    pb::Hit {
        document: Some(document(collection, hit.document)),
        score: hit.score,
        highlights: highlights.collect(),
        score_parts: parts.collect(),
    }
}

fn facet(facet: Facet) -> pb::Facet {
    pb::Facet {
        field: facet.field.as_str().to_owned(),
        values: facet.values.into_iter().map(value).collect(),
        ranges: facet.ranges.into_iter().map(range).collect(),
        histogram: facet.histogram.into_iter().map(range).collect(),
        stats: facet.stats.map(|stats| pb::FacetStats { min: stats.min, max: stats.max, avg: stats.avg }),
        approximate: facet.approximate,
        sample_count: count(facet.sample.into()),
    }
}

fn value(value: FacetCount) -> pb::FacetValue {
    pb::FacetValue {
        value: value.value,
        count: count(value.count),
        min_count: count(value.interval.0),
        max_count: count(value.interval.1),
        rough: value.rough,
    }
}

/// Range as a message. JSON has no infinite number: an open bound is absent.
fn range(range: RangeCount) -> pb::FacetRange {
    let bound = |bound: f64| bound.is_finite().then_some(bound);
    pb::FacetRange {
        from: bound(range.from),
        to: bound(range.to),
        count: count(range.count),
        min_count: count(range.interval.0),
        max_count: count(range.interval.1),
    }
}

fn step(step: Step) -> pb::PlanStep {
    pb::PlanStep {
        name: step.name,
        matched_count: count(step.matched),
        loaded_count: count(step.loaded),
        duration: prost_types::Duration::try_from(step.took).ok(),
    }
}

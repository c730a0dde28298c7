//! Results of a search.

use std::time::Duration;

use super::document::Stored;
use super::schema::FieldName;

/// Result of a search.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SearchResult {
    /// Hits of the page, in order.
    pub hits: Vec<Hit>,
    /// Number of matching documents.
    pub found: Found,
    /// Facets, in the order of the request.
    pub facets: Vec<Facet>,
    /// Cursor of the next page; empty on the last.
    pub next_page_token: String,
    /// True if documents changed since the cursor's first page.
    pub corpus_changed: bool,
    /// Candidates of the ranking; absent without one.
    pub candidates: Option<Candidates>,
    /// Steps of the plan, if explained.
    pub plan: Option<Plan>,
}

/// Document that matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Document, with the requested fields.
    pub document: Stored,
    /// Relevance; 0 in results that are ordered by fields.
    pub score: f64,
    /// Marked fields.
    pub highlights: Vec<Highlight>,
    /// Terms of the score, if explained.
    pub terms: Vec<ScoreTerm>,
}

/// Field of a hit with its matches marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    /// Text field.
    pub field: FieldName,
    /// Value or snippet, with the matches marked.
    pub text: String,
    /// True if `text` is a part of the value.
    pub snippet: bool,
}

/// Part of a score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreTerm {
    /// Name of the part: a word of the query, `proximity`, `whole_field`, `rank_by`, `brevity`.
    pub name: String,
    /// Kind of the match and its figures, for people.
    pub detail: String,
    /// Contribution to the score.
    pub value: f64,
}

/// Number of matching documents.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Found {
    /// Number, or its estimate.
    pub count: u64,
    /// Half-width of the 95 % interval; 0 if `count` is exact.
    pub margin: u64,
}

/// Candidates of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Candidates that were ranked.
    pub ranked: u32,
    /// Maximum number of candidates.
    pub cap: u32,
    /// True if more documents matched than were ranked.
    pub capped: bool,
}

/// Counts of one facet.
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    /// Field that was counted.
    pub field: FieldName,
    /// Values with the most documents first; ties in the order of the values.
    pub values: Vec<FacetCount>,
    /// Ranges, in the order of the request.
    pub ranges: Vec<RangeCount>,
    /// Buckets of the histogram with at least one document, ascending.
    pub histogram: Vec<RangeCount>,
    /// Minimum, maximum and average; absent without a value, or if not requested.
    pub stats: Option<Stats>,
    /// True if the counts are scaled up from a sample.
    pub approximate: bool,
    /// Documents of the sample that pass the filter, but for its conditions on this field; 0 if exact.
    pub sample: u32,
}

/// Documents with one value.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetCount {
    /// Value.
    pub value: String,
    /// Number of documents, or its estimate.
    pub count: u64,
    /// Bounds of the 95 % interval; equal to `count` if exact.
    pub interval: (u64, u64),
    /// True if the value holds under 5 % of the sample: the count is rough.
    pub rough: bool,
}

/// Documents within a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeCount {
    /// Lower bound, included.
    pub from: f64,
    /// Upper bound, excluded.
    pub to: f64,
    /// Number of documents, or its estimate.
    pub count: u64,
    /// Bounds of the 95 % interval; equal to `count` if exact.
    pub interval: (u64, u64),
}

/// Figures of a numeric facet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub avg: f64,
}

/// Plan that a search followed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Plan {
    /// Steps, in the order of their execution.
    pub steps: Vec<Step>,
}

/// Step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name: `count`, `narrow`, `sample`, `rank`, `load`, `facets`, ….
    pub name: String,
    /// Documents that the engine matched.
    pub matched: u64,
    /// Documents that the engine loaded.
    pub loaded: u64,
    /// Duration, the wait for the engine included.
    pub took: Duration,
}

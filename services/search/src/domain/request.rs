//! Searches as callers send them, parsed.

use super::schema::FieldName;

/// Search of one collection.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SearchRequest {
    /// Query text; empty matches every document.
    pub query: String,
    /// Text fields to search; empty searches all.
    pub query_fields: Vec<FieldName>,
    /// Words that match as prefixes.
    pub prefix: PrefixMode,
    /// True if words match only as they are spelt.
    pub exact_words: bool,
    /// Filter, in the filter language; empty admits every document.
    pub filter: String,
    /// Order of the hits; empty orders by relevance.
    pub order_by: Vec<OrderBy>,
    /// Number of hits, 0 to 250.
    pub page_size: u32,
    /// Cursor of the previous page; empty for the first.
    pub page_token: String,
    /// Fields of the hits; empty returns all.
    pub fields: Vec<FieldName>,
    /// Marked fields of the hits.
    pub highlight: Option<HighlightRequest>,
    /// Facets to count.
    pub facets: Vec<FacetRequest>,
    /// True if facets and `found` must be exact, however long it takes.
    pub exact: bool,
    /// Token of a write that the search must see; empty for none.
    pub freshness: String,
    /// True if the plan and each hit's score are described.
    pub explain: bool,
}

/// Words of a query that match as prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrefixMode {
    /// Last word: type-ahead.
    #[default]
    Last,
    /// Every word.
    All,
    /// No word.
    None,
}

/// Order by one field. The order of equal hits is that of their ids' hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// Sortable field.
    pub field: FieldName,
    /// True for the largest first. Hits without a value come last in both directions.
    pub descending: bool,
}

/// Highlights of the hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HighlightRequest {
    /// Text fields to mark; empty marks all that the query searches.
    pub fields: Vec<FieldName>,
    /// Text before a match.
    pub before: String,
    /// Text after a match.
    pub after: String,
    /// Words of a snippet; 0 returns the whole value.
    pub snippet_words: u32,
    /// True if the value's special characters become HTML entities; the marks stay as they are.
    pub escape_html: bool,
}

/// Facet to count.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetRequest {
    /// Field with `facet` set.
    pub field: FieldName,
    /// Maximum number of values, for tags.
    pub max_values: u32,
    /// Ranges to count, for numbers: from the first (included) to the second (excluded).
    pub ranges: Vec<(f64, f64)>,
    /// Width of a histogram's buckets, for numbers; 0 for none.
    pub interval: f64,
    /// True for the minimum, maximum and average, for numbers.
    pub stats: bool,
}

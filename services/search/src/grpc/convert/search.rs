//! Request of a search.

use std::ops::RangeInclusive;

use keyplane_contracts::names::CollectionName;
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{Violation, Violations, page};

use super::checked;
use super::order::order_by;
use crate::domain::FieldName;
use crate::domain::request::{FacetRequest, HighlightRequest, PrefixMode, SearchRequest};
use crate::error::Error;

/// Collection to search, and the search.
pub(in crate::grpc) fn search(request: pb::SearchDocumentsRequest) -> Result<(CollectionName, SearchRequest), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(CollectionName::parse(&request.parent, "parent"));
    check_length("query", &request.query, stated::QUERY, &mut violations);
    check_length("filter", &request.filter, stated::FILTER, &mut violations);
    let prefix = prefix(request.prefix, &mut violations);
    let [unset, most] = stated::PAGE;
    let page_size = page::size(request.page_size, unset, most, &mut violations);
    let search = SearchRequest {
        query_fields: names("query_fields", &request.query_fields, stated::TEXT_FIELDS, &mut violations),
        prefix,
        exact_words: request.exact_words,
        order_by: order_by(&request.order_by, &mut violations),
        page_size: if request.omit_hits { 0 } else { page_size },
        fields: names("fields", &request.fields, stated::FIELDS, &mut violations),
        highlight: request.highlight.map(|sent| highlight(sent, &mut violations)),
        facets: facets(&request.facets, &mut violations),
        exact: request.exact,
        explain: request.explain,
        query: request.query,
        filter: request.filter,
        page_token: request.page_token,
        freshness: request.freshness_token,
    };
    if request.omit_hits && !search.page_token.is_empty() {
        violations.add("page_token", "must not be set beside `omit_hits`");
    }
    checked(name, violations).map(|name| (name, search))
}

fn prefix(sent: i32, violations: &mut Violations) -> PrefixMode {
    use pb::search_documents_request::Prefix;
    match Prefix::try_from(sent) {
        Ok(Prefix::Unspecified | Prefix::Last) => PrefixMode::Last,
        Ok(Prefix::All) => PrefixMode::All,
        Ok(Prefix::None) => PrefixMode::None,
        Err(_) => {
            violations.add("prefix", "must be PREFIX_LAST, PREFIX_ALL or PREFIX_NONE");
            PrefixMode::Last
        }
    }
}

fn highlight(sent: pb::HighlightOptions, violations: &mut Violations) -> HighlightRequest {
    check_length("highlight.pre_tag", &sent.pre_tag, stated::MARK, violations);
    check_length("highlight.post_tag", &sent.post_tag, stated::MARK, violations);
    let or = |text: String, unset: &str| if text.is_empty() { unset.to_owned() } else { text };
    HighlightRequest {
        fields: names("highlight.fields", &sent.fields, stated::TEXT_FIELDS, violations),
        snippet_words: number("highlight.snippet_words", sent.snippet_words, 0..=stated::SNIPPET, violations),
        before: or(sent.pre_tag, "<mark>"),
        after: or(sent.post_tag, "</mark>"),
        escape_html: sent.escape_html,
    }
}

fn facets(sent: &[pb::FacetOptions], violations: &mut Violations) -> Vec<FacetRequest> {
    if sent.len() > stated::FACETS {
        let (most, count) = (stated::FACETS, sent.len());
        violations.add("facets", format!("must be at most {most} facets; {count} were sent"));
        return Vec::new();
    }
    sent.iter().enumerate().filter_map(|(index, sent)| facet(index, sent, violations)).collect()
}

fn facet(index: usize, sent: &pb::FacetOptions, violations: &mut Violations) -> Option<FacetRequest> {
    let at = |part: &str| format!("facets[{index}].{part}");
    let field = name(&at("field"), &sent.field, violations);
    let [unset, most] = stated::FACET_VALUES;
    let max_values = number(&at("max_values"), sent.max_values, 0..=most, violations);
    if sent.ranges.len() > stated::RANGES {
        let (most, count) = (stated::RANGES, sent.ranges.len());
        violations.add(at("ranges"), format!("must be at most {most} ranges; {count} were sent"));
    }
    let mut ranges = Vec::new();
    for (index, range) in sent.ranges.iter().take(stated::RANGES).enumerate() {
        let from = range.from.unwrap_or(f64::NEG_INFINITY);
        let to = range.to.unwrap_or(f64::INFINITY);
        let is_finite = range.from.is_none_or(f64::is_finite) && range.to.is_none_or(f64::is_finite);
        if !is_finite || from >= to {
            violations.add(at(&format!("ranges[{index}]")), "must go from a finite number to a larger one");
        }
        ranges.push((from, to));
    }
    if !(sent.interval.is_finite() && sent.interval >= 0.0) {
        violations.add(at("interval"), "must be a finite number above 0, or 0 for no histogram");
    }
    let max_values = if max_values == 0 { unset } else { max_values };
    Some(FacetRequest { field: field?, max_values, ranges, interval: sent.interval, stats: sent.stats })
}

fn names(at: &str, sent: &[String], most: usize, violations: &mut Violations) -> Vec<FieldName> {
    if sent.len() > most {
        violations.add(at, format!("must be at most {most} names; {} were sent", sent.len()));
        return Vec::new();
    }
    let name = |(index, text): (usize, &String)| name(&format!("{at}[{index}]"), text, violations);
    sent.iter().enumerate().filter_map(name).collect()
}

fn name(at: &str, text: &str, violations: &mut Violations) -> Option<FieldName> {
    let rule = || {
        let (pattern, sent) = (FieldName::PATTERN, text.len());
        Violation::new(at, format!("must be the name of a field, {pattern}; {sent} bytes were sent"))
    };
    violations.keep(FieldName::new(text).ok_or_else(rule))
}

fn number(at: &str, sent: i32, bounds: RangeInclusive<u32>, violations: &mut Violations) -> u32 {
    let number = u32::try_from(sent).ok().filter(|number| bounds.contains(number));
    let rule = || Violation::new(at, format!("must be {} to {}; got {sent}", bounds.start(), bounds.end()));
    violations.keep(number.ok_or_else(rule)).unwrap_or_default()
}

fn check_length(at: &str, text: &str, most: usize, violations: &mut Violations) {
    if text.len() > most {
        violations.add(at, format!("must be at most {most} bytes; {} were sent", text.len()));
    }
}

//! Preparation of a search: its parts checked against the schema, all violations at once.

use std::sync::Arc;

use keyplane_contracts::names::CollectionName;
use keyplane_contracts::{Violation, Violations};

use super::Search;
use super::order::OrderField;
use super::profile::{Profile, TextField};
use super::text::Text;
use crate::domain::cursor::{Cursor, Fingerprint, Position};
use crate::domain::facets::FacetPlan;
use crate::domain::filter::{Clauses, Filter};
use crate::domain::freshness::Freshness;
use crate::domain::lexicon::LogId;
use crate::domain::query::{self, Query, Rules};
use crate::domain::request::{FacetRequest, SearchRequest};
use crate::domain::{Definition, FieldName};
use crate::error::Error;

/// Search that is ready to be planned.
pub(super) struct Prepared {
    /// Generation that is searched.
    pub(super) profile: Arc<Profile>,
    /// Fingerprint that binds cursors.
    pub(super) fingerprint: Fingerprint,
    /// Cursor of the page; none for the first.
    pub(super) cursor: Option<Cursor>,
    /// True if the search must see a write, past every cache.
    pub(super) is_fresh: bool,
    /// Filter.
    pub(super) filter: Filter,
    /// Conditions of the index that the filter becomes.
    pub(super) clauses: Clauses,
    /// Words; none if every document matches the query.
    pub(super) text: Option<Text>,
    /// Order by fields.
    pub(super) order: Vec<OrderField>,
    /// True if hits are ordered by their scores.
    pub(super) is_ranked: bool,
    /// Facets of fields without conditions of their own.
    pub(super) plain: Vec<FacetRequest>,
    /// Facets of fields that the filter has conditions on.
    pub(super) selected: Vec<FacetRequest>,
    /// Positions of the latter's fields.
    pub(super) selected_fields: Vec<usize>,
    /// Text fields to mark.
    pub(super) marked: Vec<TextField>,
}

// === impl Search ===

impl Search {
    /// Checks a search, and looks up all that it needs before its plan.
    pub(super) async fn prepare(&self, name: &CollectionName, request: &SearchRequest) -> Result<Prepared, Error> {
        let freshness = Freshness::decode(&request.freshness, name)
            .map_err(|error| Error::invalid(Violation::new("freshness_token", error.to_string())))?;
        let definition = match &freshness {
            Some(freshness) => {
                let definition = self.definitions.at_least(name, freshness.epoch).await?;
                if definition.epoch < freshness.epoch {
                    return Err(Error::NotVisible);
                }
                definition
            }
            None => self.definitions.get(name).await?,
        };
        let fingerprint = Fingerprint::new(name, request);
        let cursor = self.cursor(request, fingerprint)?;
        let profile = self.profile(&definition, cursor.as_ref())?;
        let mut violations = Violations::new();
        let filter = filter(request, &profile, &mut violations);
        let order = order(request, &profile, &mut violations);
        let searched = texts("query_fields", &request.query_fields, &profile, &mut violations);
        check_fields(&request.fields, &profile, &mut violations);
        let marked = match &request.highlight {
            Some(highlight) if highlight.fields.is_empty() => searched.clone(),
            Some(highlight) => texts("highlight.fields", &highlight.fields, &profile, &mut violations),
            None => Vec::new(),
        };
        facets(request, &profile, &filter, &mut violations);
        let query = parse(request, &profile, &searched, &mut violations);
        violations.into_result(()).map_err(Error::Invalid)?;
        let text = self.text(&query, searched, &profile, freshness).await?;
        let clauses = filter.clauses(&profile.layout);
        let (selected, plain): (Vec<_>, Vec<_>) =
            request.facets.iter().cloned().partition(|facet| selection(facet, &profile, &filter).is_some());
        let selected_fields = selected.iter().filter_map(|facet| selection(facet, &profile, &filter)).collect();
        let is_ranked = order.is_empty() && text.as_ref().is_some_and(|text| !text.query.words.is_empty());
        let order =
            if is_ranked || !order.is_empty() { order } else { OrderField::raised(&profile).into_iter().collect() };
        let is_fresh = freshness.is_some();
        // Stop words and the number that raises scores may change without a rebuild, and the order with them.
        let fits = cursor.as_ref().is_none_or(|cursor| match &cursor.position {
            Position::Fields { values, .. } => !is_ranked && values.len() == order.len(),
            Position::Score { .. } => is_ranked,
        });
        if !fits {
            return Err(Error::CursorExpired);
        }
        Ok(Prepared {
            profile,
            fingerprint,
            cursor,
            is_fresh,
            filter,
            clauses,
            text,
            order,
            is_ranked,
            plain,
            selected,
            selected_fields,
            marked,
        })
    }

    fn cursor(&self, request: &SearchRequest, fingerprint: Fingerprint) -> Result<Option<Cursor>, Error> {
        if request.page_token.is_empty() {
            return Ok(None);
        }
        let cursor = Cursor::decode(&request.page_token, &self.cursor_key, fingerprint);
        cursor.map(Some).map_err(|error| Error::invalid(Violation::new("page_token", error.to_string())))
    }

    /// Generation of the cursor, or the live one.
    fn profile(&self, definition: &Definition, cursor: Option<&Cursor>) -> Result<Arc<Profile>, Error> {
        let build = match cursor {
            Some(cursor) => definition.complete(cursor.generation).ok_or(Error::CursorExpired)?,
            None => &definition.live,
        };
        Ok(self.profiles.get(definition, build))
    }

    /// Words of a query with the terms of the collection that match them.
    async fn text(
        &self,
        query: &Query,
        searched: Vec<TextField>,
        profile: &Profile,
        freshness: Option<Freshness>,
    ) -> Result<Option<Text>, Error> {
        if query.words.is_empty() && query.phrases.is_empty() && query.exclusions.is_empty() {
            return Ok(None);
        }
        let (name, number) = (&profile.place.name, profile.place.number);
        let log = freshness.map(|freshness| LogId { ms: freshness.log.0, seq: freshness.log.1 });
        let lexicon = match freshness {
            // Log ids of another generation mean nothing here, but the write went to this one too.
            Some(freshness) if freshness.generation != number => self.lexicons.latest(name, number).await?,
            Some(_) | None => self.lexicons.get(name, number, log).await?,
        };
        let text = Text::new(query, &lexicon, searched);
        text.map(Some).ok_or_else(|| {
            let rule = "has too many words for so many text fields; send fewer words, or name fewer `query_fields`";
            Error::invalid(Violation::new("query", rule))
        })
    }
}

fn filter(request: &SearchRequest, profile: &Profile, violations: &mut Violations) -> Filter {
    Filter::parse(&request.filter, &profile.schema).unwrap_or_else(|faults| {
        faults.into_iter().for_each(|fault| violations.add("filter", fault.to_string()));
        Filter::default()
    })
}

fn order(request: &SearchRequest, profile: &Profile, violations: &mut Violations) -> Vec<OrderField> {
    let mut fields = Vec::with_capacity(request.order_by.len());
    for order in &request.order_by {
        match OrderField::new(order, profile) {
            Some(field) => fields.push(field),
            None => violations
                .add("order_by", format!("\"{}\" must be a sortable field of the schema", order.field.as_str())),
        }
    }
    fields
}

/// Text fields of these names; all of them for none.
fn texts(at: &str, names: &[FieldName], profile: &Profile, violations: &mut Violations) -> Vec<TextField> {
    if names.is_empty() {
        return profile.texts.clone();
    }
    let mut fields: Vec<TextField> = Vec::with_capacity(names.len());
    for name in names {
        let position = profile.schema.field(name.as_str()).map(|(position, _)| position);
        match profile.texts.iter().find(|text| Some(text.position) == position) {
            Some(field) if fields.iter().any(|other| other.position == field.position) => {}
            Some(field) => fields.push(*field),
            None => violations.add(at, format!("\"{}\" must be a text field of the schema", name.as_str())),
        }
    }
    fields
}

fn check_fields(names: &[FieldName], profile: &Profile, violations: &mut Violations) {
    for name in names.iter().filter(|name| profile.schema.field(name.as_str()).is_none()) {
        violations.add("fields", format!("\"{}\" must be a field of the schema", name.as_str()));
    }
}

fn parse(request: &SearchRequest, profile: &Profile, searched: &[TextField], violations: &mut Violations) -> Query {
    let mut languages: Vec<_> = searched.iter().map(|field| field.language).collect();
    languages.dedup();
    let rules = Rules {
        vocabulary: &profile.vocabulary,
        languages: &languages,
        prefix: request.prefix,
        exact_words: request.exact_words,
    };
    let query = query::parse(&request.query, &rules).unwrap_or_else(|error| {
        violations.add("query", error.to_string());
        Query::default()
    });
    let has_words = !query.words.is_empty() || !query.phrases.is_empty() || !query.exclusions.is_empty();
    if has_words && searched.is_empty() {
        violations.add("query", "the schema has no text field; leave the query empty");
    }
    query
}

fn facets(request: &SearchRequest, profile: &Profile, filter: &Filter, violations: &mut Violations) {
    if let Err(faults) = FacetPlan::new(&request.facets, &profile.schema, filter) {
        for fault in faults {
            violations.add(format!("facets[{}].{}", fault.index, fault.member), fault.rule);
        }
    }
}

/// Position of a facet's field, if the filter has conditions on that field alone.
fn selection(facet: &FacetRequest, profile: &Profile, filter: &Filter) -> Option<usize> {
    let (position, _) = profile.schema.field(facet.field.as_str())?;
    filter.conjuncts().iter().any(|conjunct| conjunct.field() == Some(position)).then_some(position)
}

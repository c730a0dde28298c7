//! Brute-force evaluation of searches.

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::facets::{Basis, FacetPlan, Tally};
use keyplane_search::domain::packed::{Packed, pack};
use keyplane_search::domain::request::{FacetRequest, OrderBy};
use keyplane_search::domain::result::Facet;
use keyplane_search::domain::{Document, Filter, Schema, Spread, Value, sort_key};

/// Documents that are known to be all of a collection.
pub(crate) struct Oracle<'a> {
    pub(crate) name: &'a CollectionName,
    pub(crate) schema: &'a Schema,
    pub(crate) documents: &'a [Document],
}

// === impl Oracle ===

impl Oracle<'_> {
    pub(crate) fn matching(&self, filter: &str) -> Vec<&Document> {
        let filter = Filter::parse(filter, self.schema).unwrap_or_else(|faults| panic!("{filter}: {faults:?}"));
        let passes = |document: &&Document| {
            let packed = pack(self.schema, document);
            filter.matches(&Packed::read(&packed).expect("packed values"))
        };
        self.documents.iter().filter(passes).collect()
    }

    /// Ids of the matches in the total order: values, hash of the id, id.
    pub(crate) fn sorted(&self, filter: &str, order: &[OrderBy]) -> Vec<String> {
        let mut matching = self.matching(filter);
        matching.sort_by(|one, other| {
            for by in order {
                let (one, other) = (key(one, by), key(other, by));
                // Missing values come last in both directions.
                let ordering = match (one, other) {
                    (Some(one), Some(other)) if by.descending => other.total_cmp(&one),
                    (Some(one), Some(other)) => one.total_cmp(&other),
                    (one, other) => other.is_some().cmp(&one.is_some()),
                };
                if ordering.is_ne() {
                    return ordering;
                }
            }
            let spread = |document: &Document| Spread::new(&self.name.collection, &document.id).number;
            spread(one).cmp(&spread(other)).then_with(|| one.id.cmp(&other.id))
        });
        matching.into_iter().map(|document| document.id.as_str().to_owned()).collect()
    }

    pub(crate) fn facets(&self, requests: &[FacetRequest], filter: &str) -> Vec<Facet> {
        let filter = Filter::parse(filter, self.schema).expect("a filter");
        let plan = FacetPlan::new(requests, self.schema, &filter).expect("facets");
        let mut tally = Tally::new(&plan);
        for document in self.documents {
            let packed = pack(self.schema, document);
            tally.add(&Packed::read(&packed).expect("packed values"));
        }
        tally.finish(Basis::Exact)
    }
}

fn key(document: &Document, by: &OrderBy) -> Option<f64> {
    match document.fields.get(&by.field)? {
        Value::Text(text) => sort_key::text(text),
        Value::Boolean(value) => Some(sort_key::boolean(*value)),
        // A negative zero equals zero.
        Value::Tags(_) | Value::Json(_) => None,
        Value::Integer(_) | Value::Decimal(_) | Value::Timestamp(_) => {
            document.fields.get(&by.field)?.number().map(|number| number + 0.0)
        }
    }
}

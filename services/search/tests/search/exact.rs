//! Filters, orders, facets and counts of random collections equal the brute-force evaluation.

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::request::{FacetRequest, SearchRequest};
use keyplane_search::domain::result::Facet;
use keyplane_search::domain::{Document, Schema};
use proptest::prelude::*;

use crate::dice::{Dice, sortable};
use crate::oracle::Oracle;
use crate::rig::{Rig, facet, ids, order, request, run};

/// Searches of one collection.
const SEARCHES: usize = 20;

fn facets(dice: &mut Dice, schema: &Schema) -> Vec<FacetRequest> {
    let fields: Vec<_> = schema.fields.iter().filter(|field| field.facet).collect();
    let mut facets: Vec<FacetRequest> = Vec::new();
    for field in fields {
        if dice.chance(40) {
            let mut facet = facet(field.name.as_str());
            if field.kind.is_numeric() {
                facet.ranges = vec![(f64::NEG_INFINITY, 0.0), (0.0, 12.0)];
                facet.interval = if dice.chance(50) { 1e9 } else { 0.0 };
                facet.stats = true;
            }
            facets.push(facet);
        }
    }
    facets
}

/// Compares facets; averages to nine digits, since a mean depends on the order of its terms.
fn assert_equal(mut counted: Vec<Facet>, mut expected: Vec<Facet>, search: &SearchRequest) {
    for (one, other) in counted.iter_mut().zip(&mut expected) {
        if let (Some(one), Some(other)) = (&mut one.stats, &mut other.stats) {
            let tolerance = 1e-9 * other.avg.abs().max(1.0);
            assert!((one.avg - other.avg).abs() <= tolerance, "{} {}: {search:?}", one.avg, other.avg);
            one.avg = other.avg;
        }
    }
    for (one, other) in counted.iter().zip(&expected) {
        assert_eq!(one, other, "{search:?}");
    }
    assert_eq!(counted.len(), expected.len(), "{search:?}");
}

async fn compare(rig: &Rig, dice: &mut Dice, name: &CollectionName, schema: &Schema, documents: &[Document]) {
    let oracle = Oracle { name, schema, documents };
    for _ in 0..SEARCHES {
        let names = sortable(schema);
        let count = 1 + dice.roll(2);
        let order_by = (0..count).map(|_| order(names[dice.roll(names.len())], dice.chance(50))).collect();
        let search = SearchRequest {
            filter: dice.filter(schema),
            order_by: if names.is_empty() { Vec::new() } else { order_by },
            facets: facets(dice, schema),
            page_size: u32::try_from(dice.roll(40)).expect("small"),
            exact: true,
            explain: true,
            ..request()
        };
        let result = rig.search(name, &search).await;
        let mut sorted = oracle.sorted(&search.filter, &search.order_by);
        assert_eq!((result.found.count, result.found.margin), (sorted.len() as u64, 0), "{search:?} {:?}", result.plan);
        sorted.truncate(usize::try_from(search.page_size).expect("small"));
        assert_eq!(ids(&result), sorted, "{search:?} {:?}", result.plan);
        let facets = oracle.facets(&search.facets, &search.filter);
        assert_equal(result.facets, facets, &search);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_collections_equal_the_brute_force_evaluation(seed in any::<u64>()) {
        run(async move {
            let mut dice = Dice::new(seed);
            let rig = Rig::start().await;
            let schema = dice.schema();
            let count = dice.roll(150);
            let documents = dice.documents(&schema, count);
            let name = rig.create("acme", "random", schema.clone()).await;
            rig.put(&name, &documents).await;
            compare(&rig, &mut dice, &name, &schema, &documents).await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_collections_equal_the_brute_force_evaluation(seed in any::<u64>()) {
        run(async move {
            let mut dice = Dice::new(seed);
            let rig = Rig::start().await;
            let schema = dice.schema();
            let documents = dice.documents(&schema, 1_500);
            let name = rig.create("acme", "random", schema.clone()).await;
            rig.put(&name, &documents).await;
            compare(&rig, &mut dice, &name, &schema, &documents).await;
        });
    }
}

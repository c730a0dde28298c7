//! Counts that are scaled up from a sample lie within their stated intervals.

use keyplane_search::domain::Value;
use keyplane_search::domain::request::{FacetRequest, SearchRequest};

use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::rig::{Rig, document, facet, order, request, schema};

/// Documents of the collection.
const DOCUMENTS: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn sampled_facets_and_counts_are_within_their_margins() {
    let rig = Rig::start().await;
    let (name, schema) = (rig.create("acme", "large", schema()).await, schema());
    let mut dice = Dice::new(7);
    let documents: Vec<_> = (0..DOCUMENTS)
        .map(|at| {
            let status = ["new", "open", "open", "review", "closed", "closed", "closed", "closed"][dice.roll(8)];
            let amount = i64::try_from(dice.roll(10_000)).expect("small");
            let fields = [
                ("status", Value::Text(status.to_owned())),
                ("tags", Value::Tags(vec![format!("t{}", dice.roll(5)), format!("u{}", dice.roll(40))])),
                ("amount", Value::Integer(amount)),
            ];
            document(&format!("d{at}"), &fields)
        })
        .collect();
    rig.put_all(&name, &documents).await;
    let oracle = Oracle { name: &name, schema: &schema, documents: &documents };
    let (mut right, mut cases) = (0, 0);
    for filter in [
        "amount >= 2000",
        "status = \"closed\"",
        "status : (\"open\" OR \"closed\") AND amount < 8000",
        "tags : \"t1\"",
        // One in ten documents: the facet of the status has far more siblings.
        "status = \"new\" AND amount < 8000",
    ] {
        let search = SearchRequest {
            filter: filter.to_owned(),
            order_by: vec![order("amount", true)],
            facets: vec![facet("status"), facet("tags")],
            explain: true,
            ..request()
        };
        let result = rig.search(&name, &search).await;
        let exact = oracle.facets(&search.facets, filter);
        let matching = oracle.matching(filter).len() as u64;
        assert!(result.found.margin > 0, "{filter}: {:?}", result.plan);
        let mut check = |low: u64, high: u64, truth: u64| {
            cases += 1;
            right += u32::from((low..=high).contains(&truth));
        };
        check(
            result.found.count.saturating_sub(result.found.margin),
            result.found.count + result.found.margin,
            matching,
        );
        for (sampled, exact) in result.facets.iter().zip(&exact) {
            assert!(sampled.approximate && sampled.sample >= 150, "{filter}: {sampled:?}");
            for value in &sampled.values {
                let truth = exact.values.iter().find(|other| other.value == value.value).map_or(0, |other| other.count);
                check(value.interval.0, value.interval.1, truth);
            }
        }
        let loaded: u64 = result.plan.iter().flat_map(|plan| &plan.steps).map(|step| step.loaded).sum();
        assert!(loaded < 2_500, "{filter}: {loaded} documents for a page of 20: {:?}", result.plan);
        let sorted = oracle.sorted(filter, &search.order_by);
        assert_eq!(crate::rig::ids(&result), sorted[..20]);
        let precise = rig.search(&name, &SearchRequest { exact: true, ..search }).await;
        assert_eq!((precise.found.count, precise.facets), (matching, exact), "{filter}");
    }
    assert!(right * 100 >= cases * 93, "{right} of {cases}");

    let all = SearchRequest { facets: vec![facet("status")], page_size: 0, ..request() };
    let result = rig.search(&name, &all).await;
    assert_eq!((result.found.count, result.found.margin), (DOCUMENTS as u64, 0));
    assert_eq!(result.facets, oracle.facets(&all.facets, ""), "from the counters, exact");

    let numbers = SearchRequest { facets: vec![FacetRequest { stats: true, ..facet("amount") }], ..all };
    let result = rig.search(&name, &numbers).await;
    assert!(result.facets[0].approximate, "{:?}", result.facets);
    assert_eq!(
        (result.found.count, result.found.margin),
        (DOCUMENTS as u64, 0),
        "counters know the number beside a sample"
    );
}

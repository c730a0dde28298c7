//! One search of each kind, on documents that fit on a page.

use keyplane_search::domain::request::{HighlightRequest, PrefixMode, SearchRequest};
use keyplane_search::domain::{RankBy, Schema, Value};

use crate::oracle::Oracle;
use crate::rig::{Rig, document, facet, field_name, ids, order, request, schema};

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_filtered_sorted_counted_and_marked() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "tasks", schema()).await;
    let documents: Vec<_> = (0..40_i64)
        .map(|at| {
            let status = if at % 4 == 0 { "open" } else { "closed" };
            let title = format!("task {at} {}", if at % 2 == 0 { "painting & the café" } else { "cleaning rooms" });
            let fields = [
                ("title", Value::Text(title)),
                ("status", Value::Text(status.to_owned())),
                ("amount", Value::Integer(at * 7 % 40)),
            ];
            document(&format!("d{at}"), &fields)
        })
        .collect();
    rig.put(&name, &documents).await;

    let sorted = SearchRequest {
        filter: "status = \"open\" AND amount >= 10".to_owned(),
        order_by: vec![order("amount", true)],
        facets: vec![facet("status")],
        page_size: 3,
        explain: true,
        ..request()
    };
    let result = rig.search(&name, &sorted).await;
    assert_eq!(ids(&result), ["d28", "d16", "d4"]);
    assert_eq!((result.found.count, result.found.margin), (7, 0));
    let values: Vec<_> = result.facets[0].values.iter().map(|value| (value.value.as_str(), value.count)).collect();
    assert_eq!(values, [("closed", 23), ("open", 7)], "the other value keeps its count");
    let next = SearchRequest { page_token: result.next_page_token.clone(), ..sorted.clone() };
    let result = rig.search(&name, &next).await;
    assert_eq!(ids(&result), ["d32", "d20", "d8"]);
    assert!(!result.corpus_changed);

    let words = SearchRequest {
        query: "paint cafe".to_owned(),
        prefix: PrefixMode::Last,
        highlight: Some(HighlightRequest {
            fields: Vec::new(),
            before: "<".to_owned(),
            after: ">".to_owned(),
            snippet_words: 0,
            escape_html: true,
        }),
        fields: vec![field_name("title")],
        page_size: 5,
        explain: true,
        ..request()
    };
    let result = rig.search(&name, &words).await;
    assert_eq!((result.hits.len(), result.found.count), (5, 20));
    assert!(result.hits[0].highlights[0].text.ends_with("<painting> &amp; the <café>"), "{:?}", result.hits[0]);
    assert!(result.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(result.candidates.is_some_and(|candidates| !candidates.capped && candidates.ranked == 20));
    assert!(result.plan.is_some_and(|plan| plan.steps.len() >= 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictory_filter_finds_nothing_and_counts_the_siblings() {
    let rig = Rig::start().await;
    let (name, schema) = (rig.create("acme", "none", schema()).await, schema());
    let numbered =
        |at: i64| document(&format!("d{at}"), &[("amount", Value::Integer(at)), ("open", Value::Boolean(at > 3))]);
    let documents: Vec<_> = (0..10).map(numbered).collect();
    rig.put(&name, &documents).await;
    let mut amounts = facet("amount");
    amounts.ranges = vec![(0.0, 5.0), (5.0, 100.0)];
    let search = SearchRequest {
        filter: "amount > 5 AND amount < 2".to_owned(),
        facets: vec![facet("open"), amounts],
        ..request()
    };
    let result = rig.search(&name, &search).await;
    assert!(result.hits.is_empty() && result.found.count == 0);
    let oracle = Oracle { name: &name, schema: &schema, documents: &documents };
    assert_eq!(result.facets, oracle.facets(&search.facets, &search.filter));
}

#[tokio::test(flavor = "multi_thread")]
async fn popular_documents_come_first_without_a_query_and_are_the_candidates_of_a_frequent_word() {
    let rig = Rig::start().await;
    let popularity = RankBy::Popularity { field: field_name("amount"), weight: 1.0 };
    let name = rig.create("acme", "popular", Schema { rank_by: Some(popularity), ..schema() }).await;
    let popular = |at: i64| {
        let amount = at * 7_919 % 2_000;
        document(&format!("d{amount}"), &[("title", Value::Text("red".to_owned())), ("amount", Value::Integer(amount))])
    };
    rig.put(&name, &(0..2_000).map(popular).collect::<Vec<_>>()).await;
    let expected: Vec<String> = (0..20).map(|at| format!("d{}", 1_999 - at)).collect();
    let browse = rig.search(&name, &request()).await;
    assert_eq!(ids(&browse), expected);
    let ranked = rig.search(&name, &SearchRequest { query: "red".to_owned(), ..request() }).await;
    assert_eq!(ids(&ranked), expected);
    assert!(ranked.candidates.is_some_and(|candidates| candidates.capped));
}

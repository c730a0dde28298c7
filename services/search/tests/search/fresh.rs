//! Writes that a search sees, and documents that it no longer shows.

use keyplane_search::domain::Value;
use keyplane_search::domain::freshness::Freshness;
use keyplane_search::domain::request::SearchRequest;
use keyplane_search::error::Error;

use crate::rig::{Rig, document, ids, now, request, schema, violations};

#[tokio::test(flavor = "multi_thread")]
async fn expired_document_is_hidden_before_it_is_removed() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "expiry", schema()).await;
    let mut documents: Vec<_> =
        (0..3).map(|at| document(&format!("d{at}"), &[("title", Value::Text("red house".to_owned()))])).collect();
    documents[1].expires = Some(now() - 1);
    documents[2].expires = Some(now() + 3_600_000);
    rig.put(&name, &documents).await;
    let sorted = rig.search(&name, &request()).await;
    let ranked = rig.search(&name, &SearchRequest { query: "red".to_owned(), ..request() }).await;
    for result in [sorted, ranked] {
        let mut ids = ids(&result);
        ids.sort_unstable();
        assert_eq!((ids, result.found.count), (vec!["d0", "d2"], 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_with_a_token_sees_the_write() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "fresh", schema()).await;
    let search = SearchRequest { query: "red".to_owned(), exact: true, ..request() };
    assert_eq!(rig.search(&name, &search).await.found.count, 0, "caches are filled");
    for round in 1..=5_u64 {
        let word = format!("red word{round}");
        rig.put(&name, &[document(&format!("d{round}"), &[("title", Value::Text(word))])]).await;
        let freshness_token = rig.token(&name).await;
        let fresh = SearchRequest { freshness: freshness_token, query: format!("word{round}"), ..search.clone() };
        let result = rig.search(&name, &fresh).await;
        assert_eq!(ids(&result), [format!("d{round}")]);
        let counts = SearchRequest { query: String::new(), page_size: 0, ..fresh };
        assert_eq!(rig.search(&name, &counts).await.found.count, round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_no_write_of_the_collection_is_rejected() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "fresh", schema()).await;
    let with = |freshness: String| SearchRequest { freshness, ..request() };
    assert!(violations(rig.fails(&name, &with("x".to_owned())).await)[0].starts_with("freshness_token: must be"));
    let later = Freshness { generation: 1, epoch: u64::MAX, log: (0, 0) }.encode(&name);
    assert!(matches!(rig.fails(&name, &with(later)).await, Error::NotVisible));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_violation_is_reported_at_once() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "wrong", schema()).await;
    let field = crate::rig::field_name;
    let wrong = SearchRequest {
        filter: "status = ".to_owned(),
        order_by: vec![crate::rig::order("tags", false), crate::rig::order("nothing", true)],
        query_fields: vec![field("status")],
        fields: vec![field("nothing")],
        facets: vec![crate::rig::facet("title")],
        ..request()
    };
    let violations = violations(rig.fails(&name, &wrong).await);
    let fields: Vec<&str> = violations.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(
        fields,
        ["filter", "order_by", "order_by", "query_fields", "fields", "facets[0].field"],
        "{violations:?}"
    );
    assert!(violations[0].contains("position 10"), "{violations:?}");
    let missing =
        keyplane_contracts::names::CollectionName::parse("tenants/acme/collections/none", "name").expect("a name");
    assert!(matches!(rig.fails(&missing, &request()).await, Error::CollectionNotFound { .. }));
}

//! Writes that a search sees, and documents that it no longer shows.

use keyplane_search::domain::freshness::Freshness;
use keyplane_search::domain::request::SearchRequest;
use keyplane_search::domain::result::Hit;
use keyplane_search::domain::{Document, Value};
use keyplane_search::error::Error;

use crate::rig::{Rig, document, facet, field_name, ids, now, order, request, schema, violations};

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
    let search = SearchRequest { query: "red".to_owned(), ..request() };
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
async fn search_with_a_token_of_another_generation_sees_the_write() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "fresh", schema()).await;
    let epoch = rig.definitions.get(&name).await.expect("a definition").epoch;
    let token = Freshness { generation: 4_000_000, epoch, log: (u64::MAX, 0) }.encode(&name);
    for round in 1..=3 {
        let search = SearchRequest { query: format!("word{round}"), ..request() };
        assert_eq!(rig.search(&name, &search).await.found.count, 0, "the words are in memory");
        rig.put(&name, &[document(&format!("d{round}"), &[("title", Value::Text(search.query.clone()))])]).await;
        let fresh = SearchRequest { freshness: token.clone(), ..search };
        assert_eq!(ids(&rig.search(&name, &fresh).await), [format!("d{round}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_documents_are_hidden_by_every_plan() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "expiry", schema()).await;
    let end = now() + 1_500;
    let documents = (0..2_000_i64).map(|at| {
        let status = if at < 200 { "gone" } else { "open" };
        let fields = [
            ("notes", Value::Text("red house".to_owned())),
            ("status", Value::Text(status.to_owned())),
            ("amount", Value::Integer(at)),
        ];
        let expires = (at < 200).then_some(end);
        Document { expires, ..document(&format!("d{at}"), &fields) }
    });
    rig.put(&name, &documents.collect::<Vec<_>>()).await;
    while now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let sorted =
        SearchRequest { order_by: vec![order("amount", false)], filter: "amount >= 0".to_owned(), ..request() };
    let windows = rig.search(&name, &SearchRequest { facets: vec![facet("status")], ..sorted }).await;
    assert_eq!(ids(&windows), (200..220).map(|at| format!("d{at}")).collect::<Vec<_>>());
    assert!(windows.facets[0].approximate && windows.facets[0].values.iter().all(|value| value.value == "open"));
    let tiers = rig.search(&name, &SearchRequest { query: "red".to_owned(), page_size: 250, ..request() }).await;
    assert!(tiers.candidates.is_some_and(|candidates| candidates.capped) && tiers.hits.len() >= 100);
    let status = |hit: &Hit| hit.document.document.fields.get(&field_name("status")).cloned();
    assert!(tiers.hits.iter().all(|hit| status(hit) == Some(Value::Text("open".to_owned()))));
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

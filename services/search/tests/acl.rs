//! Rights of the store's user: those in docs/operations.md suffice for all that the service does, and give it nothing else.

mod support;

use std::time::Duration;

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::field::Type;
use keyplane_contracts::search::v1::rebuild::State;
use keyplane_engine::{Reply, Valkey};
use keyplane_testkit::{eventually, toolbox};
use serde_json::json;
use support::{COMPANIES, PATIENCE, Service, companies, document, field, ids};

const PASSWORD: &str = "for-this-test-alone";

/// Engine with the user `search`, who has the documented rights.
fn engine() -> Valkey {
    let engine = Valkey::builder(&toolbox()).modules(true).start().expect("an engine of this test's own");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(path).expect("docs/operations.md");
    let rule = text.split("\nuser search on >... ").nth(1).and_then(|rest| rest.split("```").next());
    let rule = rule.expect("docs/operations.md has the rule of the user search");
    let password = format!(">{PASSWORD}");
    let words: Vec<&str> =
        ["ACL", "SETUSER", "search", "on", &password].into_iter().chain(rule.split_whitespace()).collect();
    engine.command(&words).expect("the rule is an ACL");
    engine
}

async fn collection(service: &mut Service) -> pb::Collection {
    let request = pb::GetCollectionRequest { name: COMPANIES.to_owned() };
    service.client.get_collection(request).await.expect("the collection").into_inner()
}

/// Adds the tag `name` to the schema, and waits until the rebuild is over.
async fn add_field(service: &mut Service, name: &str) {
    let mut fields = companies().fields;
    fields.push(field(name, Type::Tag));
    let change = pb::Collection { name: COMPANIES.to_owned(), fields, ..pb::Collection::default() };
    let request = pb::UpdateCollectionRequest { collection: Some(change), update_mask: None };
    let generation = collection(service).await.generation;
    service.client.update_collection(request).await.expect("a rebuild");
    eventually("the rebuild succeeds", PATIENCE, async || {
        let now = collection(service).await;
        let state = now.rebuild.as_ref().map(pb::Rebuild::state);
        if state == Some(State::Succeeded) && now.generation > generation { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Writes, reads, changes, searches and deletes, as every part of the service does.
async fn live(service: &mut Service) {
    service.create(companies()).await.expect("created");
    let names = ["Muster AG", "Cloud Services", "Cloudberry Farm"];
    let documents = names.iter().zip(1..).map(|(name, number)| {
        document(&format!("c-{number}"), json!({"name": name, "country": "DE", "employees": number, "listed": true}))
    });
    assert_eq!(service.batch(documents.collect()).await.expect("a batch").failed_count, 0);
    let ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    service.upsert(pb::Document { ttl, ..document("short", json!({"name": "Short"})) }).await.expect("written");
    let part = document("", json!({"employees": 20}));
    let part = pb::Document { name: format!("{COMPANIES}/documents/c-2"), ..part };
    let request = pb::UpdateDocumentRequest { document: Some(part), update_mask: None };
    let freshness_token = service.client.update_document(request).await.expect("updated").into_inner().freshness_token;
    let facets = ["country", "employees"].map(|field| pb::FacetOptions { field: field.into(), ..Default::default() });
    let search = pb::SearchDocumentsRequest {
        query: "clowd".into(),
        filter: "employees >= 3".into(),
        facets: facets.into(),
        freshness_token,
        ..pb::SearchDocumentsRequest::default()
    };
    assert_eq!(ids(&service.search(search.clone()).await.expect("a search")).len(), 2);
    let sorted = pb::SearchDocumentsRequest { query: String::new(), order_by: "employees desc".into(), ..search };
    assert_eq!(ids(&service.search(sorted).await.expect("a search")), ["c-2", "c-3"]);

    add_field(service, "city").await;
    let rollback = pb::RollbackCollectionRequest { name: COMPANIES.to_owned(), etag: String::new() };
    service.client.rollback_collection(rollback).await.expect("rolled back");
    add_field(service, "district").await;
    let name = format!("{COMPANIES}/documents/c-1");
    let request = pb::DeleteDocumentRequest { name, ..pb::DeleteDocumentRequest::default() };
    service.client.delete_document(request).await.expect("deleted");
    let request = pb::DeleteCollectionRequest { name: COMPANIES.to_owned(), ..pb::DeleteCollectionRequest::default() };
    service.client.delete_collection(request).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_rights_suffice_for_the_whole_life_of_a_collection() {
    let engine = engine();
    let url = format!("valkey://search:{PASSWORD}@127.0.0.1:{}", engine.port());
    let mut service = support::start(
        &url,
        &[
            ("KEYPLANE_APP", "portal"),
            ("KEYPLANE_SEARCH_SWEEP_INTERVAL", "100ms"),
            ("KEYPLANE_SEARCH_RECONCILE_INTERVAL", "1s"),
            ("KEYPLANE_SEARCH_OWN_INDEX_DOCUMENTS", "2"),
        ],
    )
    .await;
    live(&mut service).await;
    // Sweeper, reconciler and janitor have no callers: their work shows in what is left.
    eventually("every document and index is removed", Duration::from_secs(40), async || {
        let left = [engine.command(&["KEYS", "portal:search~*"]), engine.command(&["FT._LIST"])];
        let left = left.map(|reply| reply.expect("the default user may"));
        if left == [Reply::Array(vec![]), Reply::Array(vec![])] { Ok(()) } else { Err(left) }
    })
    .await;
    let denied = engine.command(&["ACL", "LOG"]).expect("the default user may");
    assert_eq!(denied, Reply::Array(vec![]), "calls that the user was denied");
}

#[test]
fn documented_rights_reach_no_other_data_and_no_administration() {
    let engine = engine();
    for call in [
        &["GET", "portal:session:layout"][..],
        &["HGETALL", "portal:memory~space:{acme:p3}:m-1"],
        &["HGETALL", "other:search:{acme:collections}:defs"],
        &["FT.SEARCH", "portal:memory:ft:space", "x"],
        &["FT.AGGREGATE", "portal:search:ft:s-t1.g0", "x"],
        &["FT.DROPINDEX", "portal:memory:ft:space"],
        &["PUBLISH", "portal:session:bell:1", "x"],
        &["EVAL", "return 1", "0"],
        &["FLUSHALL"],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["SCRIPT", "FLUSH"],
        &["CLIENT", "LIST"],
        &["SHUTDOWN"],
    ] {
        let dry: Vec<&str> = ["ACL", "DRYRUN", "search"].into_iter().chain(call.iter().copied()).collect();
        let reply = engine.command(&dry).expect("an answer");
        assert_ne!(reply.text(), Some("OK"), "{call:?} is allowed");
    }
    let dry = engine.command(&["ACL", "DRYRUN", "search", "FT.SEARCH", "portal:search:ft:s-t1.g0", "x"]);
    assert_eq!(dry.expect("an answer").text(), Some("OK"), "the test asks the right question");
}

//! Calls on collections.

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::field::{Language, Type};
use keyplane_contracts::search::v1::rank_by::Mode;
use keyplane_contracts::search::v1::rebuild::State;
use prost_types::{Duration, FieldMask};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::support::{
    COMPANIES, PATIENCE, Service, TENANT, companies, details, document, field, ids, shared, violated, with_companies,
};

async fn get(service: &mut Service) -> Result<pb::Collection, Status> {
    let request = pb::GetCollectionRequest { name: COMPANIES.to_owned() };
    service.client.get_collection(request).await.map(tonic::Response::into_inner)
}

fn update(collection: pb::Collection, paths: &[&str]) -> pb::UpdateCollectionRequest {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    let collection = pb::Collection { name: COMPANIES.to_owned(), ..collection };
    pb::UpdateCollectionRequest { collection: Some(collection), update_mask }
}

fn delete(allow_missing: bool) -> pb::DeleteCollectionRequest {
    pb::DeleteCollectionRequest { name: COMPANIES.to_owned(), etag: String::new(), allow_missing }
}

#[tokio::test(flavor = "multi_thread")]
async fn created_collection_is_read_and_listed() {
    let mut service = shared(&[]).await;
    let rank_by = pb::RankBy { field: "employees".into(), mode: Mode::Popularity.into(), weight: 0.5, half_life: None };
    let synonyms = vec![pb::SynonymGroup { words: vec!["ag".into(), "aktiengesellschaft".into()] }];
    let schema = pb::Collection { synonyms, stop_words: vec!["the".into()], rank_by: Some(rank_by), ..companies() };
    let made = service.create(schema.clone()).await.unwrap();
    assert_eq!((made.name.as_str(), made.collection_id.as_str()), (COMPANIES, "companies"));
    assert_eq!(made.fields[1].weight, 1.0, "the default is told");
    assert_eq!(made.fields[0], schema.fields[0]);
    assert_eq!((&made.synonyms, &made.stop_words), (&schema.synonyms, &schema.stop_words));
    assert_eq!(made.rank_by, schema.rank_by);
    assert_eq!((made.document_count, made.document_bytes, made.rebuild.clone()), (0, 0, None));
    assert!(!made.etag.is_empty() && made.create_time.is_some() && made.generation > 0);
    assert_eq!(get(&mut service).await.unwrap(), made);

    let request = pb::ListCollectionsRequest { parent: TENANT.to_owned(), page_size: 1, page_token: String::new() };
    let page = service.client.list_collections(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.collections, page.next_page_token.as_str()), (vec![made], ""));
    let other = pb::ListCollectionsRequest { parent: "tenants/globex".to_owned(), ..request };
    assert!(service.client.list_collections(other).await.unwrap().into_inner().collections.is_empty());

    details(&service.create(companies()).await.unwrap_err(), Code::AlreadyExists, "COLLECTION_EXISTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_collections_follow_each_other() {
    let mut service = shared(&[("KEYPLANE_SEARCH_MAX_COLLECTIONS", "5")]).await;
    for number in 0..5 {
        let request = pb::CreateCollectionRequest {
            parent: TENANT.to_owned(),
            collection_id: format!("c{number}"),
            collection: Some(companies()),
        };
        service.client.create_collection(request).await.unwrap();
    }
    let status = service.create(companies()).await.unwrap_err();
    let found = details(&status, Code::ResourceExhausted, "TOO_MANY_COLLECTIONS");
    assert_eq!(found.error_info().unwrap().metadata["max_collections"], "5");

    let mut request = pb::ListCollectionsRequest { parent: TENANT.to_owned(), page_size: 2, page_token: String::new() };
    let mut found = Vec::new();
    loop {
        let page = service.client.list_collections(request.clone()).await.unwrap().into_inner();
        found.extend(page.collections.into_iter().map(|collection| collection.collection_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["c0", "c1", "c2", "c3", "c4"]);
    let token = pb::ListCollectionsRequest { page_size: -1, page_token: "x".into(), ..request };
    let status = service.client.list_collections(token).await.unwrap_err();
    assert_eq!(violated(&status), ["page_size", "page_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_violated_field_of_a_schema_is_named() {
    let mut service = shared(&[]).await;
    let fields = vec![
        field("Bad", Type::Text),
        field("a", Type::Unspecified),
        pb::Field { weight: 1.0, language: Language::German.into(), ..field("b", Type::Tag) },
        pb::Field { facet: true, ..field("c", Type::Text) },
        pb::Field { sortable: true, ..field("c", Type::Tags) },
    ];
    let rank_by = pb::RankBy { field: "b".into(), half_life: Some(Duration::default()), ..pb::RankBy::default() };
    let schema = pb::Collection {
        fields,
        synonyms: vec![pb::SynonymGroup { words: vec!["one".into()] }],
        stop_words: vec![String::new()],
        rank_by: Some(rank_by),
        ..pb::Collection::default()
    };
    let request =
        pb::CreateCollectionRequest { parent: "tenants/-".into(), collection_id: "1".into(), collection: Some(schema) };
    let status = service.client.create_collection(request).await.unwrap_err();
    details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(
        violated(&status),
        [
            "parent",
            "collection_id",
            "collection.fields[0].name",
            "collection.fields[1].type",
            "collection.fields[2].weight",
            "collection.fields[2].language",
            "collection.fields[3].facet",
            "collection.fields[4].name",
            "collection.fields[4].sortable",
            "collection.synonyms[0].words",
            "collection.stop_words[0]",
            "collection.rank_by.mode",
        ]
    );
    let nothing = pb::CreateCollectionRequest { parent: TENANT.into(), collection_id: "c".into(), collection: None };
    assert_eq!(violated(&service.client.create_collection(nothing).await.unwrap_err()), ["collection"]);
    assert_eq!(violated(&service.create(pb::Collection::default()).await.unwrap_err()), ["collection.fields"]);
    let rank_by = pb::RankBy { field: "name".into(), mode: Mode::Recency.into(), ..pb::RankBy::default() };
    let wrong = pb::Collection { rank_by: Some(rank_by), ..companies() };
    assert_eq!(violated(&service.create(wrong).await.unwrap_err()), ["collection.rank_by.field"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_apply_at_once_and_the_etag_guards() {
    let mut service = with_companies(&[]).await;
    service.upsert(document("a", json!({"name": "Muster Aktiengesellschaft"}))).await.unwrap();
    let query = pb::SearchDocumentsRequest { query: "ag".into(), exact: true, ..pb::SearchDocumentsRequest::default() };
    let made = get(&mut service).await.unwrap();
    let synonyms = vec![pb::SynonymGroup { words: vec!["ag".into(), "aktiengesellschaft".into()] }];
    let change = pb::Collection { synonyms, etag: made.etag.clone(), ..pb::Collection::default() };
    let changed = service.client.update_collection(update(change.clone(), &[])).await.unwrap().into_inner();
    assert_eq!((changed.synonyms.len(), changed.fields.len(), changed.rebuild.clone()), (1, made.fields.len(), None));
    assert_ne!(changed.etag, made.etag);
    keyplane_testkit::eventually("the synonym is in force", PATIENCE, async || {
        let found = service.search(query.clone()).await.expect("a search");
        if ids(&found) == ["a"] { Ok(()) } else { Err(found.found) }
    })
    .await;

    let status = service.client.update_collection(update(change, &[])).await.unwrap_err();
    let found = details(&status, Code::Aborted, "STALE_WRITE");
    assert_eq!(found.error_info().unwrap().metadata["current"], changed.etag);
    let mut request = Request::new(update(pb::Collection::default(), &["synonyms", "rank_by"]));
    request.metadata_mut().insert("if-match", format!("\"{}\"", changed.etag).parse().unwrap());
    let cleared = service.client.update_collection(request).await.unwrap().into_inner();
    assert!(cleared.synonyms.is_empty());

    let wrong = update(pb::Collection::default(), &["name", "fields"]);
    let status = service.client.update_collection(wrong).await.unwrap_err();
    assert_eq!(violated(&status), ["update_mask", "collection.fields"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn change_of_fields_rebuilds_and_can_be_rolled_back() {
    let mut service = with_companies(&[]).await;
    for number in 0..40 {
        let fields = json!({"name": format!("Company {number}"), "employees": number});
        service.upsert(document(&format!("c-{number}"), fields)).await.unwrap();
    }
    let request = pb::RollbackCollectionRequest { name: COMPANIES.to_owned(), etag: String::new() };
    let status = service.client.rollback_collection(request.clone()).await.unwrap_err();
    details(&status, Code::FailedPrecondition, "ROLLBACK_IMPOSSIBLE");

    let before = get(&mut service).await.unwrap();
    let mut fields = companies().fields;
    fields.push(pb::Field { facet: true, ..field("city", Type::Tag) });
    let change = pb::Collection { fields, ..pb::Collection::default() };
    let started = service.client.update_collection(update(change, &[])).await.unwrap().into_inner();
    assert!(started.rebuild.is_some(), "{started:?}");
    let done = keyplane_testkit::eventually("the rebuild succeeds", PATIENCE, async || {
        let now = get(&mut service).await.expect("the collection");
        let found = service.search(pb::SearchDocumentsRequest::default()).await.expect("a search");
        assert_eq!(found.found, 40, "never half of it");
        if now.rebuild.as_ref().is_some_and(|rebuild| rebuild.state() == State::Succeeded) { Ok(now) } else { Err(now) }
    })
    .await;
    assert_eq!((done.fields.len(), done.document_count), (before.fields.len() + 1, 40));
    assert!(done.generation > before.generation && done.rollback_expire_time.is_some());
    service.upsert(document("new", json!({"name": "New", "city": "Bern"}))).await.unwrap();

    let back = service.client.rollback_collection(request).await.unwrap().into_inner();
    assert_eq!(back.fields.len(), before.fields.len());
    keyplane_testkit::eventually("the earlier schema is in force", PATIENCE, async || {
        let found = service.search(pb::SearchDocumentsRequest::default()).await.expect("a search");
        if found.found == 41 { Ok(()) } else { Err(found.found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_collection_is_not_found_by_any_call() {
    let mut service = with_companies(&[]).await;
    service.upsert(document("a", json!({"name": "A"}))).await.unwrap();
    let wrong = pb::DeleteCollectionRequest { etag: "0".into(), ..delete(false) };
    let status = service.client.delete_collection(wrong).await.unwrap_err();
    details(&status, Code::Aborted, "STALE_WRITE");
    service.client.delete_collection(delete(false)).await.unwrap();

    let missing = |status: Status| drop(details(&status, Code::NotFound, "COLLECTION_NOT_FOUND"));
    missing(service.client.delete_collection(delete(false)).await.unwrap_err());
    service.client.delete_collection(delete(true)).await.unwrap();
    missing(get(&mut service).await.unwrap_err());
    missing(service.client.update_collection(update(companies(), &[])).await.unwrap_err());
    missing(service.upsert(document("a", json!({}))).await.unwrap_err());
    missing(service.batch(vec![document("a", json!({}))]).await.unwrap_err());
    missing(service.get("a").await.unwrap_err());
    missing(service.search(pb::SearchDocumentsRequest::default()).await.unwrap_err());
    let rollback = pb::RollbackCollectionRequest { name: COMPANIES.to_owned(), etag: String::new() };
    missing(service.client.rollback_collection(rollback).await.unwrap_err());

    // A new collection of the name has none of the old one's documents.
    keyplane_testkit::eventually("the name is free", PATIENCE, async || match service.create(companies()).await {
        Ok(_) => Ok(()),
        Err(status) => {
            details(&status, Code::Aborted, "COLLECTION_DELETING");
            Err(status.code())
        }
    })
    .await;
    assert_eq!(service.search(pb::SearchDocumentsRequest::default()).await.unwrap().found, 0);
}

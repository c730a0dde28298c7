//! Partial updates, deletions, and writers with an outdated definition.

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::{Definition, Deletion, Field, FieldKind, Outcome, RawDocument, RawPatch, Schema, Value};
use keyplane_search::error::Error;
use keyplane_search::store::LogRead;

use super::rig::field_name;
use super::service::{Service, document_name, raw, titled};

fn patch(fields: serde_json::Value) -> RawPatch {
    let serde_json::Value::Object(fields) = fields else { panic!("an object") };
    RawPatch { fields, ..RawPatch::default() }
}

#[tokio::test]
async fn update_merges_removes_and_keeps() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let full = raw("a", serde_json::json!({"title": "blue sky", "status": "open", "amount": 7}));
    service.upsert(&name, vec![RawDocument { version: Some(3), ..full }]).await;
    let document = document_name(&name, "a");
    let change = patch(serde_json::json!({"title": "red sky", "status": null}));
    let written = service.documents.update(&document, &change).await.expect("updated");
    assert_eq!((written.outcome, written.version), (Outcome::Updated, Some(3)));
    let stored = service.documents.get(&document).await.expect("a document");
    assert_eq!(stored.revision, written.revision);
    let fields = [(field_name("title"), Value::Text("red sky".into())), (field_name("amount"), Value::Integer(7))];
    assert_eq!(stored.document.fields, fields.into());
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &["a"]).await);
    let again = service.documents.update(&document, &change).await.expect("updated");
    assert_eq!((again.outcome, again.revision), (Outcome::Unchanged, written.revision), "a repetition changes nothing");

    let stale = RawPatch { revision: Some(written.revision - 1), ..change.clone() };
    assert!(matches!(service.documents.update(&document, &stale).await, Err(Error::StaleWrite { .. })));
    let older = RawPatch { version: Some(2), ..change.clone() };
    assert!(matches!(service.documents.update(&document, &older).await, Err(Error::OlderVersion { current: 3 })));
    let wrong = patch(serde_json::json!({"amount": "seven"}));
    assert!(matches!(service.documents.update(&document, &wrong).await, Err(Error::Invalid(_))));
    let missing = service.documents.update(&document_name(&name, "b"), &change).await;
    assert!(matches!(missing, Err(Error::DocumentNotFound { .. })), "an update creates nothing");
}

#[tokio::test]
async fn concurrent_updates_of_different_fields_all_survive() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    service.upsert(&name, vec![titled("a", "first")]).await;
    let document = document_name(&name, "a");
    let updates = [
        patch(serde_json::json!({"title": "second"})),
        patch(serde_json::json!({"status": "open"})),
        patch(serde_json::json!({"amount": 9})),
        patch(serde_json::json!({"tags": ["x"]})),
    ];
    let results =
        futures::future::join_all(updates.iter().map(|update| service.documents.update(&document, update))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let stored = service.documents.get(&document).await.expect("a document");
    assert_eq!(stored.document.fields.len(), 4);
    assert_eq!(stored.document.fields.get(&field_name("title")), Some(&Value::Text("second".into())));
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &["a"]).await);
}

#[tokio::test]
async fn deletion_finds_its_document_once() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let batch = service.upsert(&name, vec![titled("a", "blue"), titled("b", "blue sky")]).await;
    let revision = batch.results[0].as_ref().map(|written| written.revision).expect("written");
    let document = document_name(&name, "a");
    let stale = Deletion { revision: Some(revision + 1), ..Deletion::default() };
    assert!(matches!(service.documents.delete(&document, &stale).await, Err(Error::StaleWrite { .. })));
    let current = Deletion { revision: Some(revision), ..Deletion::default() };
    let deleted = service.documents.delete(&document, &current).await.expect("deleted");
    assert!(deleted.existed && !deleted.freshness.is_empty());
    assert!(matches!(service.documents.get(&document).await, Err(Error::DocumentNotFound { .. })));
    let again = service.documents.delete(&document, &Deletion::default()).await;
    assert!(matches!(again, Err(Error::DocumentNotFound { .. })));
    let lenient = Deletion { allow_missing: true, ..Deletion::default() };
    assert!(!service.documents.delete(&document, &lenient).await.expect("no error").existed);
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &["b"]).await);
}

#[tokio::test]
async fn expired_document_is_not_found() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let expired = RawDocument { expires: Some(1_000), ..titled("a", "blue") };
    service.upsert(&name, vec![expired]).await;
    let document = document_name(&name, "a");
    assert!(matches!(service.documents.get(&document).await, Err(Error::DocumentNotFound { .. })));
    let update = patch(serde_json::json!({"title": "red"}));
    assert!(matches!(service.documents.update(&document, &update).await, Err(Error::DocumentNotFound { .. })));
    let deletion = Deletion { allow_missing: true, ..Deletion::default() };
    assert!(!service.documents.delete(&document, &deletion).await.expect("no error").existed);
    assert!(service.lexicon(&name).await.is_empty());
}

/// Moves a collection to a new epoch, as each step of a rebuild does.
async fn step(service: &Service, name: &CollectionName) -> Definition {
    step_to(service, name, |_| {}).await
}

/// Moves a collection to a new epoch and another schema.
async fn step_to(service: &Service, name: &CollectionName, change: impl FnOnce(&mut Schema)) -> Definition {
    let before = service.store.definition(name).await.expect("read").expect("a definition");
    let reserved = service.store.reserve(&name.tenant).await.expect("reserved");
    let mut after = Definition { revision: reserved.number, epoch: reserved.number, ..before.clone() };
    change(&mut after.live.schema);
    service.store.redefine(before.revision, &after).await.expect("redefined");
    service.store.fence(&after, false).await.expect("fenced");
    after
}

#[tokio::test]
async fn writer_with_an_outdated_definition_reloads_it() {
    let (service, app) = Service::start().await;
    let name = service.tasks().await;
    let writer = Service::on(&keyplane_testkit::search_engine().url(), &app, super::service::ROOM).await;
    writer.upsert(&name, vec![titled("a", "blue")]).await;
    let after = step(&service, &name).await;
    let batch = writer.upsert(&name, vec![titled("b", "red"), titled("c", "sky")]).await;
    assert!(batch.results.iter().all(Result::is_ok), "{batch:?}");
    let token = keyplane_search::domain::freshness::Freshness::decode(&batch.freshness, &name);
    assert_eq!(token.expect("a token").map(|token| token.epoch), Some(after.epoch));
    step(&service, &name).await;
    let update = patch(serde_json::json!({"title": "green"}));
    writer.documents.update(&document_name(&name, "a"), &update).await.expect("updated");
    step(&service, &name).await;
    writer.documents.delete(&document_name(&name, "c"), &Deletion::default()).await.expect("deleted");
    assert_eq!(
        writer.lexicon(&name).await,
        writer.counted(&name, &["a", "b", "c"]).await,
        "retries count nothing twice"
    );
}

/// Adds a field that no index covers.
fn with_note(name: &'static str) -> impl FnOnce(&mut Schema) {
    move |schema| {
        let field = Field { name: field_name(name), kind: FieldKind::Stored, sortable: false, facet: false };
        schema.fields.push(field);
    }
}

#[tokio::test]
async fn writer_with_an_outdated_schema_rejects_nothing_that_the_present_one_admits() {
    let (service, app) = Service::start().await;
    let name = service.tasks().await;
    let writer = Service::on(&keyplane_testkit::search_engine().url(), &app, super::service::ROOM).await;
    writer.upsert(&name, vec![titled("a", "blue")]).await;
    step_to(&service, &name, with_note("note")).await;
    let noted = raw("b", serde_json::json!({"title": "red", "note": "new"}));
    let wrong = raw("c", serde_json::json!({"nowhere": 1}));
    let batch = writer.upsert(&name, vec![noted, titled("b", "sky"), wrong]).await;
    assert!(batch.results[..2].iter().all(Result::is_ok), "{batch:?}");
    assert!(matches!(batch.results[2], Err(Error::Invalid(_))));
    let stored = writer.documents.get(&document_name(&name, "b")).await.expect("a document");
    assert_eq!(stored.document.fields, [(field_name("title"), Value::Text("sky".into()))].into(), "the last one wins");

    step_to(&service, &name, with_note("more")).await;
    let update = patch(serde_json::json!({"more": "news"}));
    writer.documents.update(&document_name(&name, "a"), &update).await.expect("updated");
    let wrong = patch(serde_json::json!({"nowhere": 1}));
    assert!(matches!(writer.documents.update(&document_name(&name, "a"), &wrong).await, Err(Error::Invalid(_))));
    assert_eq!(writer.lexicon(&name).await, writer.counted(&name, &["a", "b", "c"]).await);
}

#[tokio::test]
async fn update_logs_only_the_words_that_it_changes() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let document = document_name(&name, "a");
    service.upsert(&name, vec![titled("a", "blue sky")]).await;
    let generation = service.definitions.get(&name).await.expect("a definition").live.generation.number;
    let head = service.store.lexicon_head(&name, generation).await.expect("a version");
    for update in [serde_json::json!({"amount": 7}), serde_json::json!({"amount": 7, "title": "blue sky"})] {
        service.documents.update(&document, &patch(update)).await.expect("updated");
        assert_eq!(service.store.lexicon_head(&name, generation).await.ok(), Some(head));
    }
    service.documents.update(&document, &patch(serde_json::json!({"title": "blue sea"}))).await.expect("updated");
    let read = service.store.lexicon_log(&name, generation, head).await.expect("a log");
    let LogRead::Changes { changes, .. } = read else { panic!("a short log is whole") };
    assert_eq!(changes, [("sea".to_owned(), 1), ("sky".to_owned(), 0)]);
}

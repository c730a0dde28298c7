//! Batches.

use keyplane_search::app::documents::DocumentLimits;
use keyplane_search::domain::freshness::Freshness;
use keyplane_search::domain::lexicon::LogId;
use keyplane_search::domain::{Outcome, RawDocument, Spread};
use keyplane_search::error::Error;

use super::rig::id;
use super::service::{Service, document_name, raw, titled};

#[tokio::test]
async fn each_document_of_a_batch_has_its_own_result() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let newer = RawDocument { version: Some(5), ..titled("old", "newer") };
    service.upsert(&name, vec![newer, titled("same", "same")]).await;
    let batch = service
        .upsert(
            &name,
            vec![
                titled("new", "new"),
                raw("bad", serde_json::json!({"title": 7, "other": true})),
                RawDocument { version: Some(4), ..titled("old", "older") },
                titled("same", "same"),
                titled("new", "newest"),
            ],
        )
        .await;
    let outcome = |at: usize| batch.results[at].as_ref().map(|written| written.outcome).ok();
    assert_eq!(batch.results.len(), 5);
    assert_eq!(
        (outcome(0), outcome(3), outcome(4)),
        (Some(Outcome::Created), Some(Outcome::Unchanged), Some(Outcome::Updated))
    );
    assert!(matches!(&batch.results[1], Err(Error::Invalid(violations)) if violations.len() == 2));
    assert!(matches!(batch.results[2], Err(Error::OlderVersion { current: 5 })));
    let ids = ["new", "bad", "old", "same"];
    let titles = service.titles(&name, &ids).await;
    assert!(titles["new"].contains("newest") && titles["old"].contains("newer") && titles.len() == 3, "{titles:?}");
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &ids).await);
}

#[tokio::test]
async fn freshness_token_names_the_write() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let batch = service.upsert(&name, vec![titled("a", "blue")]).await;
    let definition = service.definitions.get(&name).await.expect("a definition");
    let token = Freshness::decode(&batch.freshness, &name).expect("a token").expect("not empty");
    assert_eq!((token.generation, token.epoch), (definition.live.generation.number, definition.epoch));
    let head = service.store.lexicon_head(&name, token.generation).await.expect("a version");
    assert_eq!(LogId { ms: token.log.0, seq: token.log.1 }, head);
    assert_eq!(batch.results[0].as_ref().map(|written| &written.freshness).ok(), Some(&batch.freshness));
    let failed = service.upsert(&name, vec![raw("b", serde_json::json!({"title": 7}))]).await;
    assert_eq!(failed.freshness, "");
}

#[tokio::test]
async fn thousand_documents_are_written_with_all_their_words() {
    let (service, _) = Service::start().await;
    let name = service.tasks().await;
    let ids: Vec<String> = (0..1_000).map(|number| format!("d{number}")).collect();
    let documents =
        ids.iter().enumerate().map(|(number, id)| titled(id, &format!("word{number} common{}", number % 7)));
    let batch = service.upsert(&name, documents.collect()).await;
    assert!(
        batch.results.iter().all(|result| result.as_ref().is_ok_and(|written| written.outcome == Outcome::Created))
    );
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &ids).await);
    let generation = service.definitions.get(&name).await.expect("a definition").live.generation.number;
    assert_eq!(service.store.counters(&name, generation).await.expect("counters").documents, 1_000);
}

#[tokio::test]
async fn tenant_at_its_maximum_gets_no_new_documents() {
    let (first, app) = Service::start().await;
    let name = first.tasks().await;
    let url = keyplane_testkit::search_engine().url();
    let service = Service::on(&url, &app, DocumentLimits { documents: 2, bytes: 1 << 40 }).await;
    service.upsert(&name, vec![titled("a", "a"), titled("b", "b")]).await;
    let batch = service.upsert(&name, vec![titled("c", "c"), titled("a", "a longer title")]).await;
    assert!(matches!(batch.results[0], Err(Error::TooManyDocuments { limit: 2 })));
    assert!(batch.results[1].is_ok(), "documents that exist may change");
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &["a", "b", "c"]).await);
    let deletion = keyplane_search::domain::Deletion::default();
    service.documents.delete(&document_name(&name, "b"), &deletion).await.expect("deleted");
    keyplane_testkit::eventually("there is room again", std::time::Duration::from_secs(10), async || {
        service.upsert(&name, vec![titled("c", "c")]).await.results[0].is_ok()
    })
    .await;

    let service = Service::on(&url, &app, DocumentLimits { documents: 100, bytes: 10 }).await;
    let batch = service.upsert(&name, vec![titled("a", "a much longer title"), titled("a", "")]).await;
    assert!(matches!(batch.results[0], Err(Error::TooManyBytes { limit: 10 })));
    assert!(batch.results[1].is_ok(), "documents may shrink");
}

#[tokio::test]
async fn script_that_fails_halfway_leaves_the_words_of_what_it_wrote() {
    let (service, app) = Service::start().await;
    let name = service.tasks().await;
    let generation = service.definitions.get(&name).await.expect("a definition").live.generation.number;
    let partition = Spread::new(&name.collection, &id("a")).partition;
    let state = format!("{app}:search:{{acme:p{partition}}}:tasks:state");
    let checksum = |value: &str| {
        let command = ["HSET", &state, &format!("c:{generation}"), value];
        keyplane_testkit::search_engine().command(&command).expect("a command that the server takes")
    };
    checksum("damaged");
    let batch = service.upsert(&name, vec![titled("a", "blue")]).await;
    assert!(matches!(batch.results[0], Err(Error::Store(_))), "{batch:?}");
    assert_eq!(service.count(&name, &["a"]).await, 1, "the checksum comes last");
    assert_eq!(service.lexicon(&name).await, service.counted(&name, &["a"]).await);
    checksum("0");
}

#[tokio::test]
async fn batch_of_a_missing_collection_is_an_error() {
    let (service, _) = Service::start().await;
    let name = super::service::collection("nobody");
    let result = service.documents.upsert(&name, vec![titled("a", "a")]).await;
    assert!(matches!(result, Err(Error::CollectionNotFound { .. })));
}

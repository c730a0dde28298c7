//! Stores that die during writes.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use keyplane_engine::Valkey as Engine;
use keyplane_search::domain::{Outcome, RawDocument};
use keyplane_valkey::App;
use tokio::sync::mpsc;

use super::rig::schema;
use super::service::{ROOM, Service, document_name, titled};

/// Documents that are written while the store dies.
const DOCUMENTS: usize = 2_000;

fn documents() -> Vec<RawDocument> {
    (0..DOCUMENTS).map(|number| titled(&format!("d{number}"), &format!("word{number} common"))).collect()
}

/// Imports until the store dies; returns the acknowledged ids, and kills the store after the first of them.
async fn import_until(service: Service, die: impl FnOnce() + Send + 'static) -> Vec<String> {
    let name = super::service::collection("acme");
    let (send, mut acknowledged) = mpsc::unbounded_channel();
    let import = tokio::spawn(async move {
        let documents = documents();
        // Small groups: each waits for the one before.
        let groups = stream::iter(documents.chunks(64).map(<[RawDocument]>::to_vec).collect::<Vec<_>>());
        let mut batches = std::pin::pin!(groups.then(|group| service.documents.upsert(&name, group)));
        let mut failed = false;
        while let Some(batch) = batches.next().await {
            let Ok(batch) = batch else { return true };
            for (position, result) in batch.results.into_iter().enumerate() {
                match result {
                    Ok(_) => send.send(position).unwrap_or_default(),
                    Err(_) => failed = true,
                }
            }
            send.send(usize::MAX).unwrap_or_default();
            if failed {
                return true;
            }
        }
        false
    });
    let (mut ids, mut group, mut die) = (Vec::new(), 0, Some(die));
    while let Some(position) = acknowledged.recv().await {
        if position == usize::MAX {
            group += 1;
            if group == 3
                && let Some(die) = die.take()
            {
                tokio::task::spawn_blocking(die);
            }
        } else {
            ids.push(format!("d{}", group * 64 + position));
        }
    }
    assert!(import.await.expect("no panic"), "the store dies during the import");
    ids
}

/// Compares counters and lexicon with the documents that exist; returns their number.
async fn compare(service: &Service) -> u64 {
    let name = super::service::collection("acme");
    let all: Vec<String> = (0..DOCUMENTS).map(|number| format!("d{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let generation = service.definitions.get(&name).await.expect("a definition").live.generation.number;
    let stored = service.count(&name, &all).await;
    let counters = service.store.counters(&name, generation).await.expect("counters");
    assert_eq!(counters.documents, stored, "a document and its counters are written together");
    let (lexicon, counted) = (service.lexicon(&name).await, service.counted(&name, &all).await);
    let missing = counted.iter().find(|(term, frequency)| lexicon.get(*term).is_none_or(|known| known < frequency));
    assert_eq!(missing, None, "the words of every stored document are in the lexicon");
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_store_has_what_was_acknowledged_and_a_repetition_completes_the_rest() {
    let toolbox = keyplane_testkit::toolbox();
    let engine = Engine::builder(&toolbox).modules(true).setting("appendonly", "yes").setting("appendfsync", "always");
    let engine = Arc::new(engine.start().expect("an engine"));
    let app = App::new(&keyplane_testkit::app()).expect("a name");
    let first = Service::on(&engine.url(), &app, ROOM).await;
    let name = first.create("acme", schema()).await;
    let dying = engine.clone();
    let ids = import_until(first, move || dying.kill().expect("killed")).await;
    assert!((64..DOCUMENTS).contains(&ids.len()), "{}", ids.len());
    engine.restart().expect("started again");

    let service = Service::on(&engine.url(), &app, ROOM).await;
    for id in &ids {
        service.documents.get(&document_name(&name, id)).await.expect("an acknowledged document");
    }
    compare(&service).await;
    for group in documents().chunks(1_000) {
        let batch = service.upsert(&name, group.to_vec()).await;
        assert!(batch.results.iter().all(|result| {
            result.as_ref().is_ok_and(|written| matches!(written.outcome, Outcome::Created | Outcome::Unchanged))
        }));
    }
    assert_eq!(compare(&service).await, DOCUMENTS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connection_loses_nothing_that_was_acknowledged() {
    let server = keyplane_testkit::search_engine();
    let proxy = Arc::new(keyplane_testkit::FaultProxy::to_port(server.port()));
    let app = App::new(&keyplane_testkit::app()).expect("a name");
    let first = Service::on(&proxy.url(&server.url()), &app, ROOM).await;
    let name = first.create("acme", schema()).await;
    let cut = proxy.clone();
    let ids = import_until(first, move || cut.set(keyplane_testkit::Fault::Cut)).await;
    proxy.set(keyplane_testkit::Fault::Pass);

    let service = Service::on(&server.url(), &app, ROOM).await;
    for id in &ids {
        service.documents.get(&document_name(&name, id)).await.expect("an acknowledged document");
    }
    compare(&service).await;
    for group in documents().chunks(1_000) {
        let batch = service.upsert(&name, group.to_vec()).await;
        assert!(batch.results.iter().all(Result::is_ok));
    }
    assert_eq!(compare(&service).await, DOCUMENTS as u64);
}

//! Life of collections: create, list, change, delete.

use std::time::Duration;

use keyplane_contracts::names::TenantId;
use keyplane_search::app::collections::Limits;
use keyplane_search::domain::SchemaPatch;
use keyplane_search::error::Error;
use keyplane_testkit::eventually;

use crate::rig::{PATIENCE, Rig, document, english, limits, name, named, reason, schema, settings};

#[tokio::test(flavor = "multi_thread")]
async fn created_collection_is_open_at_once() {
    let rig = Rig::start().await;
    let made = rig.collections.create(&name(), schema()).await.expect("created");
    assert_eq!((made.documents, &made.schema, &made.rebuild), (0, &schema(), &None));
    rig.put(&document("a", "first", 1.0)).await;
    let read = rig.collections.get(&name()).await.expect("read");
    assert_eq!((read.documents, &read.etag), (1, &made.etag));
    rig.assert_counted().await;
    let again = rig.collections.create(&name(), schema()).await;
    assert!(matches!(again, Err(Error::CollectionExists { .. })), "{}", reason(again));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_creations_at_once_one_succeeds() {
    let rig = Rig::start().await;
    let calls = (0..8).map(|_| {
        let rig = rig.clone();
        tokio::spawn(async move { rig.collections.create(&name(), schema()).await.is_ok() })
    });
    let made = futures::future::join_all(calls).await.into_iter().filter(|made| matches!(made, Ok(true))).count();
    assert_eq!(made, 1);
    rig.put(&document("a", "first", 1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_of_collections_and_indexes_hold() {
    let app = Rig::start().await.app;
    let few = Rig::instance(&app, Limits { collections: 2, indexes: 1, ..limits() }).await;
    few.collections.create(&named("a"), schema()).await.expect("created");
    few.collections.create(&named("b"), schema()).await.expect("created: it shares the index");
    let third = few.collections.create(&named("c"), schema()).await;
    assert!(matches!(third, Err(Error::TooManyCollections { limit: 2 })), "{}", reason(third));
    let other = few.collections.update(&named("a"), english(), None).await;
    assert!(matches!(other, Err(Error::TooManyIndexes { limit: 1 })), "{}", reason(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn list_goes_by_pages_in_the_order_of_ids() {
    let rig = Rig::start().await;
    for id in ["c", "a", "b"] {
        rig.collections.create(&named(id), schema()).await.expect("created");
    }
    let tenant = TenantId::parse("acme", "tenant").expect("a tenant");
    let ids = async |size, after| {
        let (page, next) = rig.collections.list(&tenant, size, after).await.expect("a page");
        (page.iter().map(|one| one.name.collection.to_string()).collect::<Vec<_>>(), next)
    };
    let (first, next) = ids(2, None).await;
    assert_eq!((first, next.as_ref().map(ToString::to_string)), (vec!["a".into(), "b".into()], Some("b".into())));
    assert_eq!(ids(2, next.as_ref()).await, (vec!["c".to_owned()], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_searches_change_at_once_and_etags_guard_them() {
    let rig = Rig::with_documents(3).await;
    let before = rig.collections.get(&name()).await.expect("read");
    let words = SchemaPatch { stop_words: Some(vec!["the".to_owned()]), ..SchemaPatch::default() };
    let after = rig.collections.update(&name(), words.clone(), Some(before.etag.clone())).await.expect("changed");
    assert_eq!((&after.schema.stop_words, &after.rebuild), (&vec!["the".to_owned()], &None));
    assert_eq!(rig.definitions.get(&name()).await.expect("known").live.schema.stop_words, ["the"]);
    let same = rig.collections.update(&name(), words, Some(after.etag.clone())).await.expect("nothing to do");
    assert_eq!(same.etag, after.etag);
    let stale = rig.collections.update(&name(), english(), Some(before.etag)).await;
    assert!(matches!(&stale, Err(Error::StaleWrite { current, .. }) if *current == after.etag), "{}", reason(stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_collection_leaves_nothing_and_frees_its_name() {
    let rig = Rig::with_documents(200).await;
    let known = rig.definitions.get(&name()).await.expect("a definition");
    rig.collections.delete(&name(), None, false).await.expect("deleted");
    assert!(matches!(rig.collections.get(&name()).await, Err(Error::CollectionNotFound { .. })));
    let early = rig.collections.create(&name(), schema()).await;
    assert!(matches!(early, Err(Error::CollectionDeleting { .. })), "{}", reason(early));
    let late = rig.put_by(&known, &document("late", "late", 1.0)).await;
    assert_eq!(late, keyplane_search::store::documents::Fenced::Stale, "a writer that knows the deleted collection");
    let maintenance = rig.maintain(settings());
    let made = eventually("the name is free", PATIENCE, async || {
        rig.collections.create(&name(), schema()).await.map_err(|error| error.to_string())
    });
    assert_eq!(made.await.documents, 0);
    let late = rig.put_by(&known, &document("late", "late", 1.0)).await;
    assert_eq!(late, keyplane_search::store::documents::Fenced::Stale, "the new collection has a later epoch");
    rig.put(&document("a", "first", 1.0)).await;
    rig.assert_counted().await;
    rig.collections.delete(&name(), None, false).await.expect("deleted");
    rig.collections.delete(&name(), None, true).await.expect("missing is allowed");
    eventually("no key is left", PATIENCE, async || {
        let keys = rig.keys();
        if keys.is_empty() { Ok(()) } else { Err(keys) }
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_with_damaged_documents_and_counters_is_removed_whole() {
    let rig = Rig::with_documents(200).await;
    let live = rig.definition().await.live;
    let documents: Vec<String> = rig.keys().into_iter().filter(|key| key.contains(":tasks:d")).collect();
    assert_eq!(documents.len(), 200);
    rig.command(&["HSET", &documents[0], "_b", "no JSON"]);
    rig.command(&["HDEL", &documents[1], "_v"]);
    for partition in 0..16 {
        rig.command(&["DEL", &rig.key(partition, &format!("count:{}", live.generation.number))]);
    }
    rig.collections.delete(&name(), None, false).await.expect("deleted");
    let maintenance = rig.maintain(settings());
    eventually("no key is left", PATIENCE, async || {
        let keys = rig.keys();
        if keys.is_empty() { Ok(()) } else { Err(keys) }
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_created_while_its_predecessor_is_struck_off_is_maintained() {
    let rig = Rig::start().await;
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    let removal = rig.store.claim(Duration::from_secs(30), 1).await.expect("claimed");
    assert_eq!(removal.collections, [name()]);
    rig.collections.create(&name(), schema()).await.expect("the predecessor's definition is gone");
    rig.store.conclude(&name(), &removal.claim, None).await.expect("the removal ends");
    assert_eq!(rig.store.collections().await.expect("listed"), [name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_another_instance_are_seen_within_a_second_or_on_demand() {
    let rig = Rig::with_documents(1).await;
    let other = Rig::instance(&rig.app, limits()).await;
    let known = other.definitions.get(&name()).await.expect("known");
    let words = SchemaPatch { stop_words: Some(vec!["the".to_owned()]), ..SchemaPatch::default() };
    rig.collections.update(&name(), words, None).await.expect("changed");
    let at_once = other.definitions.get(&name()).await.expect("known");
    assert!(std::sync::Arc::ptr_eq(&known, &at_once), "no read within a second");
    eventually("the change is seen", PATIENCE, async || {
        other.definitions.get(&name()).await.expect("read").live.schema.stop_words == ["the"]
    })
    .await;
    let epoch = known.epoch;
    assert_eq!(other.definitions.at_least(&name(), epoch).await.expect("known").epoch, epoch);
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let maintenance = rig.maintain(settings());
    let done = rig.ended(keyplane_search::domain::RebuildState::Succeeded).await;
    let epoch = rig.definition().await.epoch;
    let seen = other.definitions.at_least(&name(), epoch).await.expect("reloaded");
    assert_eq!((seen.epoch >= epoch, seen.live.generation.number), (true, done.generation));
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_at_the_same_time_share_a_read() {
    let rig = Rig::with_documents(1).await;
    let reloads = futures::future::join_all((0..64).map(|_| {
        let definitions = rig.definitions.clone();
        async move { definitions.reload(&name()).await.expect("read") }
    }));
    let read = reloads.await;
    let distinct = read.iter().map(std::sync::Arc::as_ptr).collect::<std::collections::BTreeSet<_>>().len();
    // A read serves the callers that came before it began: those during the first share the next.
    assert!(distinct <= 8, "{distinct} reads for 64 callers");
}

//! Sweeper and reconciler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_search::app::maintenance::{Janitor, Settings};
use keyplane_search::domain::{Document, RebuildState};
use keyplane_testkit::eventually;

use crate::rig::{PATIENCE, Rig, document, english, name, named, schema, settings};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a time within 64 bits")
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_documents_leave_counters_and_lexicon() {
    let rig = Rig::with_documents(10).await;
    let expires = Some(now() + 300);
    for number in 0..40 {
        rig.put(&Document { expires, ..document(&format!("short{number}"), "shortlived words", 1.0) }).await;
    }
    let stays = Document { expires: Some(now() + 3_600_000), ..document("stays", "stays", 1.0) };
    rig.put(&stays).await;
    let maintenance = rig.maintain(settings());
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    eventually("expired documents are removed", PATIENCE, async || {
        match rig.collections.get(&name()).await.expect("read").documents {
            11 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    maintenance.stop().await;
    assert!(!rig.lexicon(rig.definition().await.live.generation.number).await.contains_key("shortlived"));
    rig.assert_counted().await;
}

/// Collection with one document, which has expired.
async fn stale(rig: &Rig, collection: &str) {
    rig.collections.create(&named(collection), schema()).await.expect("created");
    let definition = rig.definitions.get(&named(collection)).await.expect("a definition");
    rig.put_by(&definition, &Document { expires: Some(now() - 1_000), ..document("old", "old", 1.0) }).await;
}

async fn swept(rig: &Rig, collection: &str) {
    eventually("the expired document is removed", PATIENCE, async || {
        rig.collections.get(&named(collection)).await.expect("read").documents == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_collections_are_visited_without_a_pause() {
    let rig = Rig::start().await;
    let names = ["a", "b", "c", "d"];
    for collection in names {
        stale(&rig, collection).await;
    }
    let maintenance = rig.maintain(Settings { concurrency: 1, poll: Duration::from_secs(60), ..settings() });
    for collection in names {
        swept(&rig, collection).await;
    }
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_leaves_the_places_of_short_visits_free() {
    let rig = Rig::with_documents(400).await;
    let mut slow = Settings { concurrency: 1, long: 1, ..settings() };
    slow.rebuild.pace = 20;
    let maintenance = rig.maintain(slow);
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let state = async || rig.collections.get(&name()).await.expect("read").rebuild.expect("a rebuild");
    eventually("the copy has begun", PATIENCE, async || state().await.copied > 0).await;
    stale(&rig, "other").await;
    swept(&rig, "other").await;
    assert_eq!(state().await.state, RebuildState::Running);
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_documents_leave_both_generations_of_a_rebuild() {
    let rig = Rig::with_documents(10).await;
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    rig.put(&Document { expires: Some(now() + 200), ..document("short", "shortlived", 1.0) }).await;
    eventually("the expired document is removed", PATIENCE, async || {
        rig.collections.get(&name()).await.expect("read").documents == 10
    })
    .await;
    rig.collections.rollback(&name(), None).await.expect("rolled back");
    assert_eq!(rig.collections.get(&name()).await.expect("read").documents, 10);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn document_that_expired_days_ago_is_copied_and_swept_like_any_other() {
    let rig = Rig::with_documents(10).await;
    let expires = Some(now() - 3 * 86_400_000);
    rig.put(&Document { expires, ..document("old", "forgotten words", 1.0) }).await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let maintenance = rig.maintain(settings());
    rig.ended(RebuildState::Succeeded).await;
    eventually("the expired document is removed", PATIENCE, async || {
        rig.collections.get(&name()).await.expect("read").documents == 10
    })
    .await;
    maintenance.stop().await;
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciler_mends_injected_drift() {
    let rig = Rig::with_documents(60).await;
    let number = rig.definition().await.live.generation.number;
    let counts = rig.key(3, &format!("count:{number}"));
    rig.command(&["HSET", &counts, "n", "999", "v:g0:ghost", "5"]);
    rig.command(&["HDEL", &rig.key(4, &format!("count:{number}")), "v:g0:open"]);
    rig.command(&["HSET", &rig.key(5, "state"), &format!("c:{number}"), "1"]);
    let terms = format!("{}:search:{{acme:lexicon}}:tasks:{number}:terms", rig.app);
    rig.command(&["HSET", &terms, "ghost", "7", "running", "1"]);
    rig.command(&["HDEL", &terms, "task"]);
    assert_ne!(rig.collections.get(&name()).await.expect("read").documents, 60);
    let maintenance = rig.maintain(Settings { reconcile_every: Duration::ZERO, ..settings() });
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    eventually("counters and lexicon are mended", PATIENCE, async || {
        let documents = rig.collections.get(&name()).await.expect("read").documents;
        let terms = rig.lexicon(number).await;
        let mended = documents == 60 && terms.get("task") == Some(&60) && !terms.contains_key("ghost");
        if mended { Ok(()) } else { Err((documents, terms.len())) }
    })
    .await;
    maintenance.stop().await;
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recount_outlasts_its_lease_while_writes_settle() {
    let rig = Rig::with_documents(20).await;
    let number = rig.definition().await.live.generation.number;
    let terms = format!("{}:search:{{acme:lexicon}}:tasks:{number}:terms", rig.app);
    rig.command(&["HSET", &terms, "ghost", "7"]);
    let upkeep = Settings {
        reconcile_every: Duration::ZERO,
        settle: Duration::from_millis(1_500),
        lease: Duration::from_millis(300),
        concurrency: 1,
        ..settings()
    };
    let maintenance = rig.maintain(upkeep);
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    eventually("the lexicon is mended", PATIENCE, async || !rig.lexicon(number).await.contains_key("ghost")).await;
    maintenance.stop().await;
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_thousands_of_counters_is_mended_in_slices() {
    let rig = Rig::with_documents(60).await;
    let number = rig.definition().await.live.generation.number;
    let counts = rig.key(3, &format!("count:{number}"));
    let ghosts: Vec<String> = (0..5_000).map(|ghost| format!("v:g0:ghost{ghost}")).collect();
    for some in ghosts.chunks(500) {
        let pairs = some.iter().flat_map(|ghost| [ghost.as_str(), "5"]);
        rig.command(&["HSET", counts.as_str()].into_iter().chain(pairs).collect::<Vec<_>>());
    }
    let maintenance = rig.maintain(Settings { reconcile_every: Duration::ZERO, ..settings() });
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    eventually("the counters are mended", PATIENCE, async || {
        rig.store.counts(&name(), number, 3).await.expect("counters").len() < 10
    })
    .await;
    maintenance.stop().await;
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counter_below_zero_counts_as_zero_and_is_mended() {
    let rig = Rig::with_documents(60).await;
    let number = rig.definition().await.live.generation.number;
    let partition = rig.store.partition_size(&name(), number, 3).await.expect("read").documents;
    rig.command(&["HSET", &rig.key(3, &format!("count:{number}")), "n", "-5", "b", "-1"]);
    assert_eq!(rig.collections.get(&name()).await.expect("read").documents, 60 - partition);
    let maintenance = rig.maintain(Settings { reconcile_every: Duration::ZERO, ..settings() });
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    eventually("the counter is mended", PATIENCE, async || {
        rig.collections.get(&name()).await.expect("read").documents == 60
    })
    .await;
    maintenance.stop().await;
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_mends_a_drifted_checksum_before_it_compares() {
    let rig = Rig::with_documents(60).await;
    let number = rig.definition().await.live.generation.number;
    rig.command(&["HSET", &rig.key(5, "state"), &format!("c:{number}"), "1"]);
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), english(), None).await.expect("requested");
    assert_eq!(rig.ended(RebuildState::Succeeded).await.documents, 60);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn index_that_no_collection_uses_is_dropped() {
    let rig = Rig::with_documents(5).await;
    let maintenance = rig.maintain(settings());
    rig.collections.create(&named("empty"), schema()).await.expect("created");
    let mut other = schema();
    other.fields.truncate(1);
    rig.collections.create(&named("other"), other).await.expect("created");
    assert_eq!(rig.store.count_indexes().await.expect("counted"), 2);
    rig.collections.delete(&named("other"), None, false).await.expect("deleted");
    eventually("the unused index is dropped", PATIENCE, async || {
        rig.store.count_indexes().await.expect("counted") == 1
    })
    .await;
    rig.delete("d0").await;
    rig.put(&document("d0", "goes on", 1.0)).await;
    rig.collections.get(&named("empty")).await.expect("an empty collection keeps its index");
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn index_that_a_collection_takes_while_it_is_dropped_is_made_again() {
    let rig = Rig::start().await;
    stale(&rig, "former").await;
    let definition = rig.definitions.get(&named("former")).await.expect("a definition");
    let mut janitor = Janitor::new(rig.store.clone());
    assert!(janitor.look().await.expect("a look").is_empty(), "the index is in use");
    let maintenance = rig.maintain(Settings { janitor_every: Duration::from_secs(600), ..settings() });
    rig.collections.delete(&named("former"), None, false).await.expect("deleted");
    eventually("the index is spare", PATIENCE, async || !janitor.look().await.expect("a look").is_empty()).await;
    maintenance.stop().await;
    janitor.look().await.expect("a look");
    let spare = janitor.look().await.expect("a look");
    assert_eq!(spare.len(), 1, "it was spare in the look before too");
    rig.collections.create(&name(), schema()).await.expect("created: it takes the index");
    rig.put(&document("a", "first", 1.0)).await;
    janitor.remove(spare).await.expect("dropped");
    assert!(rig.store.is_index_ready(&definition.live.generation.placement).await.expect("a look"));
    assert_eq!(rig.titles(&rig.definition().await.live).await.len(), 1);
}

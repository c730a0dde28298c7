//! Rebuilds: switch, rollback, failure, fence, move to an own index.

use std::time::Duration;

use keyplane_search::domain::{Definition, Generation, JobCause, Layout, Placement, RebuildState, Second, Value};
use keyplane_search::error::Error;
use keyplane_search::store::definitions::Defined;
use keyplane_search::store::documents::Fenced;
use keyplane_testkit::eventually;

use crate::rig::{PATIENCE, Rig, document, english, field_name, name, reason, schema, settings, whole};

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_switches_to_a_complete_generation() {
    let rig = Rig::with_documents(300).await;
    let before = rig.definition().await;
    let titles = rig.titles(&before.live).await;
    let pending = rig.collections.update(&name(), english(), None).await.expect("requested");
    assert_eq!(pending.rebuild.map(|rebuild| rebuild.state), Some(RebuildState::Running));
    let second = rig.collections.update(&name(), whole(), None).await;
    assert!(matches!(second, Err(Error::RebuildRunning { .. })), "{}", reason(second));
    let maintenance = rig.maintain(settings());
    let done = rig.ended(RebuildState::Succeeded).await;
    let rebuild = done.rebuild.as_ref().expect("a rebuild");
    assert_eq!((done.documents, rebuild.copied, rebuild.total, rebuild.error.as_str()), (300, 300, 300, ""));
    assert_eq!(done.schema.fields.len(), 4);
    let after = rig.definition().await;
    assert_ne!(after.live.generation, before.live.generation);
    assert_eq!(rig.titles(&after.live).await, titles);
    rig.assert_counted().await;
    assert!(rig.lexicon(after.live.generation.number).await.contains_key("_run"), "the new language stems");
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_loses_no_write_since_the_switch() {
    let rig = Rig::with_documents(40).await;
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    let mut late = document("late", "after the switch", 1.0);
    late.fields.insert(field_name("owner"), Value::Text("ann".to_owned()));
    rig.put(&late).await;
    rig.put(&document("d1", "changed", 1.0)).await;
    rig.delete("d0").await;
    let back = rig.collections.rollback(&name(), None).await.expect("rolled back");
    assert_eq!((back.documents, back.schema.fields.len()), (40, 3));
    assert_eq!(back.rebuild.as_ref().map(|rebuild| rebuild.state), Some(RebuildState::RolledBack));
    let titles = rig.titles(&rig.definition().await.live).await;
    let title = |id: &str| titles.get(id).map(String::as_str);
    assert_eq!([title("late"), title("d1"), title("d0")], [Some("after the switch"), Some("changed"), None]);
    rig.put(&document("d2", "after the rollback", 1.0)).await;
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_needs_a_generation_to_return_to() {
    let rig = Rig::with_documents(1).await;
    let none = rig.collections.rollback(&name(), None).await;
    assert!(matches!(none, Err(Error::RollbackImpossible { .. })), "{}", reason(none));
    let mut short = settings();
    short.rebuild.rollback_age = std::time::Duration::from_millis(50);
    let maintenance = rig.maintain(short);
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    eventually("the previous generation is removed", PATIENCE, async || {
        let definition = rig.definition().await;
        definition.second.is_none() && definition.retired.is_none()
    })
    .await;
    let late = rig.collections.rollback(&name(), None).await;
    assert!(matches!(late, Err(Error::RollbackImpossible { .. })), "{}", reason(late));
    let definition = rig.definition().await;
    let kept = definition.live.generation.number.to_string();
    let counters: Vec<String> = rig.keys().into_iter().filter(|key| key.contains(":count:")).collect();
    assert!(counters.iter().all(|key| key.ends_with(&kept)), "{counters:?}");
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn document_that_does_not_fit_ends_the_rebuild_with_the_reason() {
    let rig = Rig::with_documents(20).await;
    rig.put(&document("odd", "not whole", 7.5)).await;
    let before = rig.definition().await;
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), whole(), None).await.expect("requested");
    let failed = rig.ended(RebuildState::Failed).await;
    let rebuild = failed.rebuild.expect("a rebuild");
    assert_eq!(rebuild.error, "document odd: field \"amount\" has a decimal, and the schema wants an integer");
    assert_eq!((failed.documents, failed.schema), (21, schema()));
    eventually("what it built is removed", PATIENCE, async || rig.definition().await.retired.is_none()).await;
    assert_eq!(rig.definition().await.live, before.live);
    rig.delete("odd").await;
    rig.collections.update(&name(), whole(), None).await.expect("requested again");
    assert_eq!(rig.ended(RebuildState::Succeeded).await.documents, 20);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_does_not_fit_the_next_schema_is_kept_and_ends_the_rebuild() {
    let rig = Rig::with_documents(200).await;
    rig.collections.update(&name(), whole(), None).await.expect("requested");
    let mut slow = settings();
    slow.rebuild.pace = 200;
    let maintenance = rig.maintain(slow);
    eventually("the copy has begun", PATIENCE, async || matches!(rig.definition().await.second, Some(Second::Next(_))))
        .await;
    rig.put(&document("odd", "not whole", 7.5)).await;
    let failed = rig.ended(RebuildState::Failed).await;
    assert!(failed.rebuild.expect("a rebuild").error.contains("document odd"));
    assert_eq!(rig.titles(&rig.definition().await.live).await.len(), 201);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_that_slept_through_a_rebuild_is_stale() {
    let rig = Rig::with_documents(20).await;
    let asleep = rig.definition().await;
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    assert_eq!(rig.put_by(&asleep, &document("d1", "too late", 1.0)).await, Fenced::Stale);
    let definition = rig.definition().await;
    assert_eq!(rig.titles(&definition.live).await.get("d1").map(String::as_str), Some("running task 1"));
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_rebuild_leaves_the_collection_as_it_was() {
    let rig = Rig::with_documents(200).await;
    let before = rig.definition().await;
    let mut slow = settings();
    slow.rebuild.pace = 50;
    let maintenance = rig.maintain(slow);
    rig.collections.update(&name(), english(), None).await.expect("requested");
    eventually("the copy has begun", PATIENCE, async || {
        rig.collections.get(&name()).await.expect("read").rebuild.is_some_and(|rebuild| rebuild.copied > 0)
    })
    .await;
    let back = rig.collections.rollback(&name(), None).await.expect("cancelled");
    assert_eq!(back.rebuild.map(|rebuild| rebuild.state), Some(RebuildState::RolledBack));
    eventually("what it built is removed", PATIENCE, async || rig.definition().await.retired.is_none()).await;
    assert_eq!(rig.definition().await.live, before.live);
    rig.put(&document("d1", "goes on", 1.0)).await;
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grown_collection_moves_to_an_index_of_its_own() {
    let rig = Rig::with_documents(30).await;
    assert!(rig.definition().await.live.generation.placement.is_shared());
    let mut small = settings();
    small.own_index_documents = 20;
    let maintenance = rig.maintain(small);
    rig.store.schedule(&name(), std::time::Duration::ZERO).await.expect("scheduled");
    let moved = rig.ended(RebuildState::Succeeded).await;
    assert_eq!((moved.documents, moved.schema), (30, schema()));
    let definition = rig.definition().await;
    assert!(definition.live.generation.placement.index.starts_with("o-"));
    rig.assert_counted().await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    eventually("the own index is kept", PATIENCE, async || {
        let live = rig.definition().await.live;
        live.schema.fields.len() == 4 && live.generation.placement.index.starts_with("o-")
    })
    .await;
    maintenance.stop().await;
}

/// Collection in an index of its own, and a rebuild of it that died after it had made its index and its lexicon.
async fn died_at_its_begin() -> (Rig, Placement) {
    let rig = Rig::with_documents(30).await;
    let mut small = settings();
    (small.own_index_documents, small.rebuild.rollback_age) = (20, Duration::from_millis(50));
    let maintenance = rig.maintain(small);
    rig.store.schedule(&name(), Duration::ZERO).await.expect("scheduled");
    rig.ended(RebuildState::Succeeded).await;
    eventually("the shared index is left", PATIENCE, async || {
        let definition = rig.definition().await;
        definition.second.is_none() && definition.retired.is_none()
    })
    .await;
    maintenance.stop().await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let pending = rig.definition().await;
    let shape = Layout::new(&pending.rebuild.as_ref().expect("a job").schema).shape;
    let reserved = rig.store.reserve(&name().tenant).await.expect("reserved");
    let number = u32::try_from(reserved.number).expect("a number");
    let placement = pending.place(JobCause::Schema, shape, number);
    let generation = Generation { number, placement: placement.clone() };
    let planned = Definition { revision: reserved.number, ..pending.clone() }.planning(generation);
    assert_eq!(rig.store.redefine(pending.revision, &planned).await.expect("replaced"), Defined::Done);
    rig.store.ensure_index(&name(), &placement, 900).await.expect("an index");
    rig.store.open_generation(&planned, &planned.planned().expect("a plan")).await.expect("a lexicon");
    (rig, placement)
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_that_died_at_its_begin_goes_on_with_the_same_index() {
    let (rig, placement) = died_at_its_begin().await;
    let maintenance = rig.maintain(settings());
    rig.ended(RebuildState::Succeeded).await;
    assert_eq!(rig.definition().await.live.generation.placement, placement);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_that_died_at_its_begin_leaves_nothing_after_its_end() {
    for delete in [false, true] {
        let (rig, placement) = died_at_its_begin().await;
        if delete {
            rig.collections.delete(&name(), None, false).await.expect("deleted");
        } else {
            rig.collections.rollback(&name(), None).await.expect("cancelled");
        }
        let maintenance = rig.maintain(settings());
        eventually("index and lexicon are gone", PATIENCE, async || {
            let lexicon = format!("tasks:{}:log", placement.generation);
            let keys: Vec<String> = rig.keys().into_iter().filter(|key| key.ends_with(&lexicon)).collect();
            let index = rig.store.is_index_ready(&placement).await.expect("a look");
            if keys.is_empty() && !index { Ok(()) } else { Err((keys, index)) }
        })
        .await;
        maintenance.stop().await;
    }
}

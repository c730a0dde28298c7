//! Swaps of generations: the end of a rebuild and of a rollback, and instances that die in them.

use keyplane_search::domain::{Definition, JobState, RebuildState, SchemaPatch, Second};
use keyplane_search::store::definitions::Defined;
use keyplane_search::store::documents::Fenced;
use keyplane_testkit::eventually;

use crate::rig::{PATIENCE, Rig, document, english, name, reason, schema, settings, whole};

/// Collection of 40 documents whose earlier generation takes whole amounts alone.
async fn narrower_before() -> Rig {
    let rig = Rig::with_documents(40).await;
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), whole(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    let back = SchemaPatch { fields: Some(schema().fields), ..SchemaPatch::default() };
    rig.collections.update(&name(), back, None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    maintenance.stop().await;
    assert!(matches!(rig.definition().await.second, Some(Second::Previous { .. })));
    rig
}

/// Announces a swap, as an instance does that dies right afterwards.
async fn announce(rig: &Rig, state: JobState) -> Definition {
    let before = rig.definition().await;
    let revision = rig.store.reserve(&name().tenant).await.expect("reserved").number;
    let swapping = Definition { revision, ..before.clone() }.swapping(state);
    assert_eq!(rig.store.redefine(before.revision, &swapping).await.expect("replaced"), Defined::Done);
    swapping
}

async fn job_state(rig: &Rig) -> JobState {
    rig.definition().await.rebuild.expect("a rebuild").state
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_that_would_lose_a_document_is_rejected_until_all_fit() {
    let rig = narrower_before().await;
    let live = rig.definition().await.live;
    rig.put(&document("odd", "not whole", 7.5)).await;
    let rejected = reason(rig.collections.rollback(&name(), None).await);
    let expected = "collection tasks can't return to its earlier schema: document odd: field \"amount\" has a decimal, and \
                    the schema wants an integer; change or delete the document, and repeat";
    assert_eq!(rejected, expected);
    assert_eq!((rig.definition().await.live, job_state(&rig).await), (live, JobState::Done));
    rig.put(&document("odder", "not whole", 7.25)).await;
    assert_eq!(rig.titles(&rig.definition().await.live).await.len(), 42);
    rig.put(&document("odd", "whole", 7.0)).await;
    rig.delete("odder").await;
    let back = rig.collections.rollback(&name(), None).await.expect("every document fits");
    assert_eq!((back.documents, back.rebuild.map(|rebuild| rebuild.state)), (41, Some(RebuildState::RolledBack)));
    rig.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_one_generation_lacks_waits_for_an_announced_swap() {
    let rig = narrower_before().await;
    let before = rig.definition().await;
    let swapping = announce(&rig, JobState::Returning).await;
    assert_eq!(rig.put_by(&swapping, &document("odd", "not whole", 7.5)).await, Fenced::Stale);
    assert_eq!(rig.put_by(&swapping, &document("even", "whole", 7.0)).await, Fenced::Done(()));
    let maintenance = rig.maintain(settings());
    eventually("the rollback is concluded", PATIENCE, async || job_state(&rig).await == JobState::RolledBack).await;
    assert_eq!(rig.put_by(&before, &document("odd", "not whole", 7.5)).await, Fenced::Stale);
    let definition = rig.definition().await;
    assert_eq!(Some(&definition.live), before.second());
    assert_eq!(rig.titles(&definition.live).await.len(), 41);
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_came_before_the_fence_of_a_swap_is_not_lost() {
    let rig = narrower_before().await;
    let before = rig.definition().await;
    announce(&rig, JobState::Returning).await;
    assert_eq!(rig.put_by(&before, &document("odd", "not whole", 7.5)).await, Fenced::Done(()), "no fence yet");
    let maintenance = rig.maintain(settings());
    eventually("the rollback is rejected", PATIENCE, async || job_state(&rig).await == JobState::Done).await;
    let definition = rig.definition().await;
    assert_eq!(definition.live, before.live);
    assert_eq!(rig.titles(&definition.live).await.get("odd").map(String::as_str), Some("not whole"));
    rig.assert_counted().await;
    maintenance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generation_that_is_not_complete_is_never_published() {
    let rig = Rig::with_documents(400).await;
    let before = rig.definition().await;
    let mut slow = settings();
    slow.rebuild.pace = 100;
    let maintenance = rig.maintain(slow);
    rig.collections.update(&name(), english(), None).await.expect("requested");
    eventually("the copy has begun", PATIENCE, async || {
        rig.collections.get(&name()).await.expect("read").rebuild.is_some_and(|rebuild| rebuild.copied > 0)
    })
    .await;
    maintenance.stop().await;
    announce(&rig, JobState::Switching).await;
    let maintenance = rig.maintain(settings());
    let failed = rig.ended(RebuildState::Failed).await.rebuild.expect("a rebuild");
    assert!(failed.error.starts_with("the generations differ in partition"), "{}", failed.error);
    assert_eq!(rig.definition().await.live, before.live);
    rig.assert_counted().await;
    maintenance.stop().await;
}

//! Rebuilds whose instance dies, or shuts down.

use std::time::Duration;

use keyplane_search::app::maintenance::Settings;
use keyplane_search::domain::{RebuildState, SchemaPatch};
use keyplane_testkit::{Fault, FaultProxy, eventually};

use crate::rig::{PATIENCE, Rig, english, limits, name, schema, settings};

/// Settings under which a rebuild of 400 documents takes seconds.
fn slow() -> Settings {
    let mut slow = settings();
    slow.rebuild.pace = 100;
    slow.lease = Duration::from_millis(400);
    slow
}

async fn copied(rig: &Rig) -> u64 {
    let collection = rig.collections.get(&name()).await.expect("read");
    collection.rebuild.map_or(0, |rebuild| rebuild.copied)
}

async fn midway(rig: &Rig) -> u64 {
    eventually("some documents are copied", PATIENCE, async || Some(copied(rig).await).filter(|copied| *copied > 40))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_resumes_the_rebuild_of_a_killed_one() {
    let rig = Rig::with_documents(400).await;
    let other = Rig::instance(&rig.app, limits()).await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let killed = rig.maintain(slow());
    midway(&rig).await;
    drop(killed);
    // The killed instance's connection has carried out its last command by the end of these reads.
    let second = rig.definition().await.second().cloned().expect("a second generation");
    let present = rig.titles(&second).await.len() as u64;
    let saved = copied(&rig).await;
    assert!(saved > 40 && saved <= present, "{saved} of {present}");
    let survivor = other.maintain(Settings { lease: Duration::from_millis(400), ..settings() });
    let done = other.ended(RebuildState::Succeeded).await;
    assert_eq!(done.documents, 400);
    // Documents that were copied after the last checkpoint are present already, and not counted again.
    let expected = 400 - (present - saved);
    assert_eq!(done.rebuild.map(|rebuild| rebuild.copied), Some(expected), "it goes on from the checkpoint");
    assert_eq!(other.titles(&other.definition().await.live).await.len(), 400);
    survivor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_hands_the_rebuild_over_at_once() {
    let rig = Rig::with_documents(400).await;
    let other = Rig::instance(&rig.app, limits()).await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let leaving = rig.maintain(Settings { lease: Duration::from_secs(600), ..slow() });
    midway(&rig).await;
    leaving.stop().await;
    let survivor = other.maintain(settings());
    let done = other.ended(RebuildState::Succeeded).await;
    assert_eq!(
        (done.documents, done.rebuild.map(|rebuild| rebuild.copied)),
        (400, Some(400)),
        "nothing is copied twice"
    );
    other.assert_counted().await;
    survivor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_the_work_without_harm() {
    let rig = Rig::with_documents(200).await;
    let other = Rig::instance(&rig.app, limits()).await;
    let (first, second) = (rig.maintain(settings()), other.maintain(settings()));
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let done = rig.ended(RebuildState::Succeeded).await;
    assert_eq!((done.documents, done.rebuild.map(|rebuild| rebuild.copied)), (200, Some(200)));
    rig.assert_counted().await;
    first.stop().await;
    second.stop().await;
}

/// Paused instance: its commands arrive when another one has finished its rebuild and begun to reuse its index.
#[tokio::test(flavor = "multi_thread")]
async fn late_commands_of_a_paused_instance_change_nothing() {
    let rig = Rig::with_documents(400).await;
    let server = keyplane_testkit::search_engine();
    let proxy = FaultProxy::to_port(server.port());
    let paused = Rig::instance_at(&proxy.url(&server.url()), &rig.app, limits()).await;
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let first = paused.maintain(slow());
    midway(&rig).await;
    proxy.set(Fault::BlackHole);
    let survivor = rig.maintain(Settings { lease: Duration::from_millis(400), ..settings() });
    rig.ended(RebuildState::Succeeded).await;
    let back = SchemaPatch { fields: Some(schema().fields), ..SchemaPatch::default() };
    rig.collections.update(&name(), back, None).await.expect("requested: it takes the first index's place again");
    proxy.set(Fault::Pass);
    let done = rig.ended(RebuildState::Succeeded).await;
    eventually("the third generation is live", PATIENCE, async || {
        let definition = rig.definition().await;
        definition.live.schema == schema() && !definition.is_rebuilding()
    })
    .await;
    assert_eq!(done.documents, 400);
    eventually("the paused instance is at work again", PATIENCE, async || {
        paused.collections.get(&name()).await.is_ok_and(|collection| collection.documents == 400)
    })
    .await;
    first.stop().await;
    survivor.stop().await;
    assert_eq!(rig.titles(&rig.definition().await.live).await.len(), 400);
    rig.assert_counted().await;
}

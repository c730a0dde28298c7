//! Rebuilds under writers and readers, against a model: nothing is lost, nothing comes back, nothing is half-built.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use keyplane_search::domain::RebuildState;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use crate::rig::{Rig, document, english, limits, name, schema, settings};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Number of writers; each has ids of its own, so that its order of writes is the order of the model.
const WRITERS: usize = 3;
/// Documents that nobody changes; every read finds all of them.
const STABLE: u32 = 60;

#[derive(Clone, Debug)]
enum Write {
    Put { id: u8, title: u16 },
    Delete { id: u8 },
}

fn writes() -> impl Strategy<Value = Vec<Vec<Write>>> {
    let id = 0..12_u8;
    let put = (id.clone(), any::<u16>()).prop_map(|(id, title)| Write::Put { id, title });
    let write = prop_oneof![3 => put, 2 => id.prop_map(|id| Write::Delete { id })];
    vec(vec(write, 10..60), WRITERS)
}

/// Carries out one writer's writes; returns its documents afterwards.
async fn write(rig: &Rig, writer: usize, writes: &[Write]) -> BTreeMap<String, String> {
    let mut model = BTreeMap::new();
    for write in writes {
        match write {
            Write::Put { id, title } => {
                let (id, title) = (format!("w{writer}-{id}"), format!("title {title}"));
                rig.put(&document(&id, &title, 1.0)).await;
                model.insert(id, title);
            }
            Write::Delete { id } => {
                let id = format!("w{writer}-{id}");
                rig.delete(&id).await;
                model.remove(&id);
            }
        }
    }
    model
}

/// Reads the live generation over and over: each time, the stable documents are all there.
async fn read(rig: &Rig, done: &AtomicBool) -> u32 {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        let definition = rig.definitions.get(&name()).await.expect("a definition");
        let titles = rig.titles(&definition.live).await;
        let stable = titles.keys().filter(|id| id.starts_with("stable")).count();
        assert_eq!(stable, STABLE as usize, "a search saw generation {} half-built", definition.live.generation.number);
        reads += 1;
    }
    reads
}

async fn hold(writes: Vec<Vec<Write>>, roll_back: bool) {
    let rig = Rig::start().await;
    rig.collections.create(&name(), schema()).await.expect("created");
    let mut model = BTreeMap::new();
    for number in 0..STABLE {
        let (id, title) = (format!("stable{number}"), format!("stable {number}"));
        rig.put(&document(&id, &title, 1.0)).await;
        model.insert(id, title);
    }
    let maintenance = rig.maintain(settings());
    rig.collections.update(&name(), english(), None).await.expect("requested");
    let done = AtomicBool::new(false);
    let writers = async {
        let all = writes.iter().enumerate().map(|(writer, writes)| write(&rig, writer, writes));
        let written = futures::future::join_all(all).await;
        rig.ended(RebuildState::Succeeded).await;
        done.store(true, Ordering::Relaxed);
        written
    };
    // Another instance, whose definitions are up to a second old.
    let reader = Rig::instance(&rig.app, limits()).await;
    let (written, reads) = tokio::join!(writers, read(&reader, &done));
    assert!(reads > 0);
    written.into_iter().for_each(|documents| model.extend(documents));
    if roll_back {
        rig.collections.rollback(&name(), None).await.expect("rolled back");
    }
    let definition = rig.definition().await;
    assert_eq!(rig.titles(&definition.live).await, model);
    let other = definition.second().expect("the other generation lives on");
    assert_eq!(rig.titles(other).await, model, "the other generation has every write too");
    maintenance.stop().await;
    rig.assert_counted().await;
}

proptest! {
    #![proptest_config(Config { cases: 6, failure_persistence: None, ..Config::default() })]

    #[test]
    fn rebuild_under_writers_and_readers_equals_the_model(writes in writes(), roll_back in any::<bool>()) {
        RUNTIME.block_on(hold(writes, roll_back));
    }
}

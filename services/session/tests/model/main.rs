//! Store against a small pure model: any sequence of calls leaves both in the same state, answers alike, and sends a
//! watcher of it. Then many writers at once.

mod call;
mod case;
#[path = "../support/mod.rs"]
mod support;

use std::sync::LazyLock;

use keyplane_engine::Cluster;
use keyplane_session::domain::{Fields, Patch};
use keyplane_session::error::Error;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use call::{Call, calls};
use case::Case;
use support::{fresh_id, plain, policy, user};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster of three primaries"));

async fn hold_against_the_model(url: &str, calls: Vec<Call>) {
    let mut case = Case::new(url).await;
    for call in calls {
        case.run(call).await;
    }
    case.compare().await;
    case.nothing_is_eternal().await;
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn store_does_what_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&keyplane_testkit::valkey().url(), calls));
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn cluster_does_what_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&CLUSTER.url(), calls));
    }
}

proptest! {
    #![proptest_config(Config { cases: 32, ..Config::default() })]

    #[test]
    fn many_writers_at_once_end_where_the_events_say(calls in calls()) {
        RUNTIME.block_on(async { Case::new(&keyplane_testkit::valkey().url()).await.run_at_once(calls).await });
    }
}

#[test]
fn concurrent_patches_of_different_fields_all_survive() {
    RUNTIME.block_on(async {
        let (_, store) = support::store().await;
        let made = store.create(&user(), fresh_id(), &plain(Fields::default()), &policy()).await.expect("a session");
        let writers = (0..16).map(|writer| {
            let (store, name) = (store.clone(), made.name.clone());
            tokio::spawn(async move {
                for round in 0..20 {
                    let attributes = [(format!("w{writer}"), round.to_string())].into();
                    let fields = Fields { attributes, ..Fields::default() };
                    store.patch(&name, &Patch { fields, ..Patch::default() }).await.expect("a patch");
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("a writer");
        }
        let session = store.get(&made.name).await.expect("the session");
        assert_eq!(session.version, 1 + 16 * 20);
        assert_eq!(session.attributes.len(), 16);
        assert!(session.attributes.values().all(|value| value == "19"));
    });
}

#[test]
fn optimistic_writers_never_lose_an_update() {
    RUNTIME.block_on(async {
        let (_, store) = support::store().await;
        let made = store.create(&user(), fresh_id(), &plain(Fields::default()), &policy()).await.expect("a session");
        let writers = (0..8).map(|_| {
            let (store, name) = (store.clone(), made.name.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let seen = store.get(&name).await.expect("the session");
                    let count: u32 = seen.attributes.get("n").map_or(0, |n| n.parse().expect("a number"));
                    let attributes = [("n".to_owned(), (count + 1).to_string())].into();
                    let fields = Fields { attributes, ..Fields::default() };
                    let patch = Patch { fields, version: Some(seen.version), ..Patch::default() };
                    match store.patch(&name, &patch).await {
                        Ok(_) => done += 1,
                        Err(Error::StaleWrite { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("a writer");
        }
        assert_eq!(store.get(&made.name).await.expect("the session").attributes["n"], "80");
    });
}

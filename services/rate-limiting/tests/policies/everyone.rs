//! Propagation of policies to every instance, and stores that are unavailable, empty or damaged.

use std::time::{Duration, Instant};

use keyplane_engine::Valkey as Server;
use keyplane_rate_limiting::app::policies::Cause;
use keyplane_rate_limiting::domain::Origin;
use keyplane_rate_limiting::error::Error;
use keyplane_rate_limiting::store::PolicyStore;
use keyplane_testkit::{Fault, FaultProxy, eventually, toolbox};

use crate::case::{Case, PATIENCE, SETTINGS, amount, connect, connect_lazily, id, new, seen, start, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_applies_a_change_within_a_second() {
    let case = Case::new();
    let (first, other) = (case.start().await, case.start().await);
    let version = other.catalog().version();
    first.create(new("p", 10), false).await.expect("it is made");
    let began = Instant::now();
    eventually("the other knows", Duration::from_secs(1), async || seen(&other, "p").is_some()).await;
    assert!(other.catalog().version() > version);
    first.set_plan(&tenant("acme"), "gold", &Cause::default()).await.expect("it is set");
    eventually("the other knows", Duration::from_secs(1), async || other.plan("acme").is_some()).await;
    first.delete(&id("p"), "", false).await.expect("it is deleted");
    eventually("the other knows", Duration::from_secs(1), async || seen(&other, "p").is_none()).await;
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_applies_a_change_within_a_second_without_a_ring() {
    let case = Case::new();
    let (first, other) = (case.start().await, case.start().await);
    first.create(new("p", 10), false).await.expect("it is made");
    eventually("the other knows", PATIENCE, async || seen(&other, "p").is_some()).await;
    let document = case.hget("p:p").replace("\"amount\":10", "\"amount\":20");
    case.hset("p:p", &document);
    case.hset("v", "2");
    for policies in [&first, &other] {
        let known = async || (seen(policies, "p") == Some((20, Origin::Api))).then_some(());
        eventually("it polls", Duration::from_secs(1), known).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_policies_are_in_force_before_ready() {
    let case = Case::new();
    case.start().await.create(new("p", 10), false).await.expect("it is made");
    let late = case.start().await;
    assert_eq!(seen(&late, "p"), Some((10, Origin::Api)));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_stay_in_force_while_the_store_is_unavailable() {
    let case = Case::new();
    let server = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(server.port());
    let behind = case.start_at(&proxy.url(&server.url())).await;
    let before = case.start().await;
    before.create(new("p", 10), false).await.expect("it is made");
    eventually("it is known", PATIENCE, async || seen(&behind, "p").is_some()).await;
    for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen] {
        proxy.set(fault);
        let away = behind.create(new("q", 1), false).await.expect_err("the store is unavailable");
        assert!(matches!(&away, Error::Store(error) if error.retryable()), "{away}");
        let amount = seen(&behind, "p").expect("it stays").0 + 1;
        before.update(&id("p"), &self::amount(amount), "", false).await.expect("it is changed behind its back");
        assert!(*behind.ready().borrow() && seen(&behind, "p") == Some((amount - 1, Origin::Api)));
        proxy.set(Fault::Pass);
        let known = async || (seen(&behind, "p").expect("it stays").0 == amount).then_some(());
        eventually("it catches up by itself", PATIENCE, known).await;
        before.delete(&id("q"), "", true).await.expect("a create of unknown outcome is undone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_file_is_in_force_and_no_instance_is_ready() {
    let case = Case::new();
    case.write_file("policies: [{id: f, entries: [tenant], limit: {amount: 5, per: 1s}}]");
    let server = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(server.port());
    proxy.set(Fault::Cut);
    let valkey = connect_lazily(&case.app, &proxy.url(&server.url()));
    let policies = start(valkey, case.settings()).await.expect("it starts");
    assert_eq!((seen(&policies, "f"), *policies.ready().borrow()), (Some((5, Origin::File)), false));
    proxy.set(Fault::Pass);
    let mut ready = policies.ready();
    tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.expect("in time").expect("it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_store_takes_its_policies_out_of_force() {
    let server = Server::builder(&toolbox()).start().expect("a server of its own");
    let app = keyplane_testkit::app();
    let policies = start(connect(&app, &server.url()).await, SETTINGS).await.expect("it starts");
    policies.create(new("p", 10), false).await.expect("it is made");
    let version = policies.catalog().version();
    server.restart().expect("it starts again, empty");
    eventually("it is known", PATIENCE, async || seen(&policies, "p").is_none()).await;
    assert!(policies.catalog().version() > version, "it is a change");
    eventually("writes work", PATIENCE, async || policies.create(new("p", 20), false).await).await;
    assert_eq!(seen(&policies, "p"), Some((20, Origin::Api)), "though its revision is one that was there before");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_layout_is_neither_read_nor_written() {
    let case = Case::new();
    let layout = format!("{}:policies:layout", case.app);
    keyplane_testkit::valkey().command(&["SET", &layout, "999"]).expect("a later release was here");
    let valkey = connect(&case.app, &keyplane_testkit::valkey().url()).await;
    let policies = start(valkey.clone(), case.settings()).await.expect("it starts");
    let rejected = PolicyStore::new(valkey).check().await.expect_err("another layout").to_string();
    assert!(rejected.contains("layout version 999"), "{rejected}");
    policies.create(new("p", 1), false).await.expect_err("nothing is written");
    policies.set_plan(&tenant("acme"), "gold", &Cause::default()).await.expect_err("nothing is written");
    assert!(!*policies.ready().borrow() && case.keys().len() == 1, "the layout alone: {:?}", case.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_policy_affects_no_other() {
    let case = Case::new();
    let policies = case.start().await;
    for name in ["a", "b"] {
        policies.create(new(name, 10), false).await.expect("it is made");
    }
    case.hset("p:a", "{\"version\":1,");
    case.hset("t:Acme!", "gold");
    policies.update(&id("b"), &amount(20), "", false).await.expect("another is changed");
    assert_eq!(seen(&policies, "b"), Some((20, Origin::Api)));
    assert_eq!(seen(&policies, "a"), Some((10, Origin::Api)), "who knew it holds on to it");
    let late = case.start().await;
    assert_eq!((seen(&late, "a"), seen(&late, "b")), (None, Some((20, Origin::Api))), "who did not goes on without");
    let corrupt = policies.update(&id("a"), &amount(1), "", false).await.expect_err("it can't be read");
    assert!(matches!(corrupt, Error::Corrupt(_)), "{corrupt}");
    policies.delete(&id("a"), "", false).await.expect("it can be deleted");
    assert_eq!(seen(&policies, "a"), None);
    policies.create(new("a", 30), false).await.expect("and made anew");
}

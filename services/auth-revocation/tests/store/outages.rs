//! Losses: revocations that a failover lost are written again, once, and never over a later state.

use std::time::Duration;

use keyplane_auth_revocation::domain::{Cause, Cutoff};
use keyplane_auth_revocation::store::Settings;
use keyplane_engine::Valkey as Server;
use keyplane_revocation::{Claims, CutoffBy, Entry, Millis, Rule, Version};

use crate::case::{Case, HOUR, TENANT, modules, session, subject, tenant, token};

async fn one_partition() -> Case {
    Case::on(&modules().url(), Settings { partitions: 1, ..Settings::default() }).await
}

async fn entries(case: &Case) -> Vec<Entry> {
    case.entries(0).await
}

#[tokio::test]
async fn a_tombstone_wins_over_late_entries() {
    let case = one_partition().await;
    let made = case.revoke(session("s", None)).await.expect("a revocation");
    let before = entries(&case).await;
    case.store.undo(TENANT, &made.record.target.id(), None, Cause::default()).await.expect("undone");
    assert_eq!(case.store.merge(0, &before).await.expect("a merge"), 0, "the revocation comes late");
    assert_eq!(case.rule(&Claims { sid: "s", ..case.claims("j") }).await, None);
    assert_eq!(case.feed(0).await.len(), 2, "nothing is appended");
}

#[tokio::test]
async fn lost_revocations_are_written_again_once() {
    let case = one_partition().await;
    let exp = Some(Millis(case.store.now().0 + HOUR));
    let now = case.store.now().0;
    let made = case.revoke(token("j", exp)).await.expect("a revocation");
    case.revoke(token("k", None)).await.expect("a revocation");
    case.revoke(session("s", None)).await.expect("a revocation");
    case.revoke(subject("u", CutoffBy::IssuedAt, Cutoff::At(Millis(now - 9)), &["kept one"])).await.expect("a cutoff");
    let known = entries(&case).await;
    assert!(case.lose(modules(), "revocation:") > 5);
    // The new primary has a history of its own.
    case.store.probe().await.expect("the layout is written again");
    case.revoke(session("other", None)).await.expect("a revocation");
    assert_eq!(case.rule(&case.claims("j")).await, None, "it is lost");

    assert_eq!(case.store.merge(0, &known).await.expect("a merge"), 4);
    assert_eq!(case.store.merge(0, &known).await.expect("another instance's"), 0, "each is written once");
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    assert_eq!(case.rule(&case.claims("k")).await, Some(Rule::Token));
    let user = Claims { subject: "u", issued_at: Some(Millis(now - 9)), ..case.claims("x") };
    assert_eq!(case.rule(&user).await, Some(Rule::Subject));
    assert_eq!(case.rule(&Claims { sid: "kept one", ..user }).await, None);
    let record = case.store.get(TENANT, &made.record.target.id()).await.expect("the record");
    assert_eq!(record, made.record, "with its own version");
    let feed = case.feed(0).await;
    assert_eq!(feed.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "the chain is dense");
    assert_eq!(*feed[1].entry, known[0], "an entry that is appended again is unchanged");
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn the_version_after_a_merge_is_higher() {
    let case = one_partition().await;
    let made = case.revoke(session("s", None)).await.expect("a revocation");
    let ahead = Version(made.record.version.0 + 3_600_000_000);
    let mut late = entries(&case).await.remove(0);
    late.version = ahead;
    assert_eq!(case.store.merge(0, &[late]).await.expect("a merge"), 1);
    let undone =
        case.store.undo(TENANT, &made.record.target.id(), Some(ahead), Cause::default()).await.expect("undone");
    assert!(undone.record.version > ahead, "or the merged one would win again");
}

#[tokio::test]
async fn entries_that_the_feed_is_about_to_forget_are_appended_again() {
    let case = one_partition().await;
    case.revoke(session("long", Some(Millis(case.store.now().0 + 300 * 24 * HOUR)))).await.expect("a revocation");
    let undone = case.revoke(session("undone", Some(Millis(case.store.now().0 + HOUR)))).await.expect("a revocation");
    let known = entries(&case).await;
    case.store.undo(TENANT, &undone.record.target.id(), None, Cause::default()).await.expect("undone");
    let refresh = async |age| case.store.refresh(0, &known, age).await.expect("a refresh");
    assert_eq!(refresh(Duration::from_secs(3600)).await, 0, "the copies are young");
    assert_eq!(refresh(Duration::ZERO).await, 2);
    let feed = case.feed(0).await;
    assert_eq!(feed.len(), 5);
    assert_eq!(*feed[3].entry, known[0], "the same state, and the same version");
    assert_eq!(feed[4].entry, feed[2].entry, "as the store has it, not as the caller knew it");
    assert_eq!(refresh(Duration::from_secs(3600)).await, 0, "another instance finds young copies");
    // A lost revocation is written whatever its age.
    assert_eq!(case.lose(modules(), "revocation:"), 6);
    assert_eq!(refresh(Duration::from_secs(3600)).await, 2);
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn entries_of_another_partition_are_left_to_it() {
    let case = Case::new().await;
    let made = case.revoke(session("s", None)).await.expect("a revocation");
    let own = made.record.target.id().partition(4);
    let entry = case.feed(own).await.remove(0).entry;
    case.lose(modules(), "revocation:acme:");
    for partition in 0..4 {
        let expected = u64::from(partition == own);
        assert_eq!(case.store.merge(partition, std::slice::from_ref(&entry)).await.expect("a merge"), expected);
    }
}

#[tokio::test]
async fn a_server_that_forgot_everything_is_used_on() {
    let server = Server::builder(&keyplane_testkit::toolbox()).modules(true).start().expect("a server of its own");
    let case = Case::on(&server.url(), Settings { partitions: 1, ..Settings::default() }).await;
    let exp = Some(Millis(case.store.now().0 + HOUR));
    case.revoke(token("j", exp)).await.expect("a revocation");
    let known = entries(&case).await;
    server.command(&["SCRIPT", "FLUSH"]).expect("the scripts are forgotten");
    case.revoke(tenant(Cutoff::At(Millis(5)))).await.expect("the script is loaded again");
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    server.command(&["FLUSHALL"]).expect("everything is forgotten");
    assert_eq!(case.rule(&case.claims("j")).await, None);
    assert_eq!(case.store.merge(0, &known).await.expect("a merge"), 1);
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    assert_eq!(case.feed(0).await[0].seq, 1, "the numbers begin anew, which replicas notice by the nonce");
}

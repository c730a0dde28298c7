//! Replication: REPLICATED is returned only where replicas have the write, and nobody waits where there are none.

use std::time::{Duration, Instant};

use keyplane_auth_revocation::domain::{Cause, Durability};
use keyplane_auth_revocation::store::{Replication, Settings};
use keyplane_engine::{Valkey as Server, ValkeyBuilder};
use keyplane_testkit::{eventually, toolbox};

use crate::case::{Case, TENANT, modules, session};

fn settings(replicas: u32) -> Settings {
    let replication = Replication::Auto { replicas, within: Duration::from_secs(2) };
    Settings { partitions: 1, replication, ..Settings::default() }
}

fn start(change: impl FnOnce(ValkeyBuilder<'_>) -> ValkeyBuilder<'_>) -> Server {
    let toolbox = toolbox();
    change(Server::builder(&toolbox).may_wait(true)).start().expect("a server")
}

async fn durability(case: &Case, sid: &str) -> Durability {
    case.revoke(session(sid, None)).await.expect("a revocation").durability
}

#[tokio::test]
async fn a_write_that_a_replica_has_is_replicated() {
    let primary = start(|builder| builder);
    let replica = start(|builder| builder.replica_of(&primary));
    let case = Case::on(&primary.url(), settings(1)).await;
    let made = case.revoke(session("s", None)).await.expect("a revocation");
    assert_eq!(made.durability, Durability::Replicated);
    let stored = format!("{}:revocation:{TENANT}:{}:{{p0}}", case.app, made.record.target.id());
    assert!(replica.command(&["GET", &stored]).expect("a read").text().is_some(), "the replica has the record");
    let again = case.revoke(session("s", None)).await.expect("again");
    assert_eq!(again.durability, Durability::Replicated, "of what another connection may have written");
    let undone = case.store.undo(TENANT, &made.record.target.id(), None, Cause::default()).await.expect("undone");
    assert_eq!(undone.durability, Durability::Replicated);
    let many = case.store.revoke((0..300).map(|n| session(&n.to_string(), None)).collect()).await;
    assert!(many.iter().flatten().all(|written| written.durability == Durability::Replicated) && many.len() == 300);

    replica.pause().expect("the replica is paused");
    let impatient =
        Settings { replication: Replication::Auto { replicas: 1, within: Duration::from_millis(50) }, ..settings(1) };
    let waits = keyplane_auth_revocation::store::Store::new(case.valkey.clone(), impatient).expect("settings");
    waits.probe().await.expect("the store is there");
    let result = waits.revoke(vec![session("paused", None)]).await.remove(0).expect("the primary has it");
    assert_eq!(result.durability, Durability::PrimaryOnly);
    replica.resume().expect("the replica goes on");
    let mut n = 0;
    eventually("replication is noticed again", Duration::from_secs(20), async || {
        n += 1;
        let result = waits.revoke(vec![session(&format!("later-{n}"), None)]).await.remove(0).expect("a revocation");
        result.durability == Durability::Replicated
    })
    .await;
}

#[tokio::test]
async fn without_a_replica_nobody_waits() {
    let primary = start(|builder| builder);
    let case = Case::on(&primary.url(), settings(1)).await;
    // A single wait would take 2 s.
    let before = Instant::now();
    for n in 0..20 {
        assert_eq!(durability(&case, &n.to_string()).await, Durability::PrimaryOnly);
    }
    assert!(before.elapsed() < Duration::from_secs(2), "20 revocations took {:?}", before.elapsed());

    let replica = start(|builder| builder.replica_of(&primary));
    eventually("a replica that comes is noticed", Duration::from_secs(20), async || {
        durability(&case, "again").await == Durability::Replicated
    })
    .await;
    drop(replica);
    eventually("so is one that goes", Duration::from_secs(30), async || {
        let before = Instant::now();
        durability(&case, "again").await == Durability::PrimaryOnly && before.elapsed() < Duration::from_millis(500)
    })
    .await;
}

#[tokio::test]
async fn without_the_right_to_wait_the_primary_acknowledges() {
    let case = Case::on(&modules().url(), settings(1)).await;
    assert_eq!(durability(&case, "s").await, Durability::PrimaryOnly);
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let primary = start(|builder| builder);
    let _replica = start(|builder| builder.replica_of(&primary));
    let case = Case::on(&primary.url(), settings(1)).await;
    assert_eq!(durability(&case, "a").await, Durability::Replicated);
    primary.command(&["CLIENT", "KILL", "TYPE", "normal"]).expect("all connections are cut");
    eventually("writes are replicated again", Duration::from_secs(20), async || {
        match case.revoke(session("b", None)).await {
            Ok(written) if written.durability == Durability::Replicated => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn callers_at_the_same_time_share_the_connection() {
    let primary = start(|builder| builder);
    let _replica = start(|builder| builder.replica_of(&primary));
    let case = Case::on(&primary.url(), settings(1)).await;
    let callers = (0..64).map(|n| {
        let store = case.store.clone();
        tokio::spawn(async move { store.revoke(vec![session(&n.to_string(), None)]).await.remove(0) })
    });
    for caller in callers.collect::<Vec<_>>() {
        let written = caller.await.expect("a caller").expect("a revocation");
        assert_eq!(written.durability, Durability::Replicated);
    }
    let stats = primary.command(&["INFO", "commandstats"]).expect("the statistics");
    let calls = |name: &str| -> u64 {
        let line =
            stats.text().unwrap_or_default().lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok());
        calls.unwrap_or_default()
    };
    assert_eq!(case.feed_length().await, 64);
    assert!(calls("wait") < 64 + 2, "one WAIT serves all who came before it: {} were sent", calls("wait"));
}

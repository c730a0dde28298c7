//! Loss of a primary of a cluster.

use std::time::{Duration, Instant};

use keyplane_auth_revocation::domain::Durability;
use keyplane_engine::Cluster;

use crate::rig::{self, scope_of, token};

#[tokio::test(flavor = "multi_thread")]
async fn a_replicated_revocation_outlives_its_primary() {
    let cluster = Cluster::builder(&keyplane_testkit::toolbox()).replicas(1).may_wait(true).start().expect("a cluster");
    let app = keyplane_testkit::app();
    let one = rig::start(&app, &cluster.url(), |kept, _| kept.partitions = 2).await;
    let other = rig::start(&app, &cluster.url(), |kept, _| kept.partitions = 2).await;
    let jtis: Vec<String> = (0..20).map(|number| format!("j-{number}")).collect();
    let mut durable = Vec::new();
    for jti in &jtis {
        let (written, acknowledged) = one.revoke(scope_of(jti)).await;
        if written.durability == Durability::Replicated {
            durable.push((jti, acknowledged));
        }
    }
    assert!(!durable.is_empty(), "a cluster with replicas, and a user who may WAIT");
    let key = format!("{app}:revocation:_:head:{{p0}}");
    let primary = cluster.primary_of(&key).expect("the cluster answers").expect("a primary");
    cluster.node(primary).kill().expect("it is killed");
    let killed = Instant::now();
    for (jti, acknowledged) in &durable {
        let late = other.late_actives(&token(jti), *acknowledged, Duration::from_millis(500)).await;
        assert_eq!(late, 0, "{jti}: late answers");
    }
    other.answers_from_memory().await;
    one.answers_from_memory().await;
    println!("answers from memory {:?} after the primary was killed", killed.elapsed());
    let (written, _) = one.revoke(scope_of("after")).await;
    other.rejects(&token("after")).await;
    assert!(one.mirror.wait(&written.sequence, rig::PATIENCE).await.is_ok_and(|propagation| propagation.complete));
    for (jti, _) in &durable {
        other.rejects(&token(jti)).await;
    }
}

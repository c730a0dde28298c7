//! Cluster of three primaries, one of them sick.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::kinds::{self, Kinds};
use common::{COUNT, connect, eventually, key, settings};
use futures::future::join_all;
use keyplane_engine::Cluster;
use keyplane_valkey::{Key, Valkey};

/// Window of the load: time for hundreds of calls.
const WINDOW: Duration = Duration::from_millis(500);
const CALLERS: usize = 4;

/// Keys of each primary.
fn keys(cluster: &Cluster, valkey: &Valkey) -> [Vec<Key>; 3] {
    let mut keys = [const { Vec::new() }; 3];
    for key in (0..60).map(|n| key(valkey, &format!("u-{n}"))) {
        let owner = cluster.primary_of(key.as_str()).expect("asked").expect("there is one");
        keys[owner].push(key);
    }
    keys
}

/// Calls for `keys` from several tasks; returns the failures, and the durations of the others in ascending order.
async fn load(valkey: &Valkey, keys: &[Key]) -> (Vec<String>, Vec<Duration>) {
    let callers = (0..CALLERS).map(async |caller| {
        let (start, mut failed, mut took) = (Instant::now(), Vec::new(), Vec::new());
        for key in keys.iter().cycle().skip(caller * 7) {
            if start.elapsed() > WINDOW {
                break;
            }
            let begun = Instant::now();
            let result = match took.len() % 2 {
                0 => valkey.run(&COUNT, &[key], &[]).await.map(drop),
                _ => valkey.get(key).await.map(drop),
            };
            result.map_or_else(|error| failed.push(error.to_string()), |()| took.push(begun.elapsed()));
        }
        (failed, took)
    });
    let (failed, took): (Vec<_>, Vec<_>) = join_all(callers).await.into_iter().unzip();
    let mut took = took.concat();
    took.sort_unstable();
    (failed.concat(), took)
}

fn p99(took: &[Duration]) -> Duration {
    took.get(took.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sick_primary_does_not_affect_the_others() {
    let cluster = Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster");
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("set");
    }
    let valkey = connect(&settings(&cluster.url())).await;
    let [sick, well, more] = keys(&cluster, &valkey);
    let well = [well, more].concat();
    assert!(valkey.reach().is_whole());
    load(&valkey, &well).await;
    let mut before = Duration::ZERO;
    for _ in 0..4 {
        before = before.max(p99(&load(&valkey, &well).await.1));
    }
    for fault in ["hangs", "is dead"] {
        let node = cluster.node(0);
        if fault == "hangs" {
            node.pause().expect("paused")
        } else {
            node.kill().expect("killed")
        }
        // Callers of the sick node's keys go on, as callers do.
        let over = AtomicBool::new(false);
        let others = async {
            let (mut failed, mut calls, mut tails) = (Vec::new(), 0, Vec::new());
            for _ in 0..8 {
                let (more_failed, took) = load(&valkey, &well).await;
                calls += more_failed.len() + took.len();
                failed.extend(more_failed);
                tails.push(p99(&took));
            }
            over.store(true, Ordering::Relaxed);
            tails.sort_unstable();
            (failed, calls, tails)
        };
        let own = join_all(sick.iter().take(CALLERS).map(async |key| {
            let mut answers = 0;
            while !over.load(Ordering::Relaxed) {
                answers += usize::from(valkey.get(key).await.is_ok());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answers
        }));
        let ((failed, calls, tails), answers) = tokio::join!(others, own);
        println!(
            "one primary {fault}: {} of {calls} failed, p99 of windows {tails:?}, before {before:?}",
            failed.len()
        );
        assert_eq!(answers.iter().sum::<usize>(), 0, "a node that {fault} answered");
        assert!(failed.len() * 1_000 <= calls, "{fault}: {} of {calls} failed: {:?}", failed.len(), failed.first());
        // Of the middle: a loaded machine has slow windows, with and without a fault.
        assert!(tails[tails.len() / 2] <= before * 2, "{fault}: p99 {tails:?} where the slowest was {before:?}");
        let reach = valkey.reach();
        assert!((reach.nodes, reach.well) == (3, 2) && (0.6..0.7).contains(&reach.share), "{reach:?}");
        valkey.ping().await.expect("a part of it answers");

        if fault == "hangs" {
            node.resume().expect("resumed")
        } else {
            node.restart().expect("restarted")
        }
        for key in &sick {
            eventually("its keys are served again", async || valkey.run(&COUNT, &[key], &[]).await.is_ok()).await;
        }
        eventually("all is within reach", async || valkey.reach().is_whole()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_every_kind_of_command_is_as_fast_as_before() {
    let toolbox = keyplane_testkit::toolbox();
    let cluster = Cluster::builder(&toolbox).replicas(1).node_timeout(Duration::from_secs(1)).start();
    let cluster = cluster.expect("a cluster");
    let valkey = connect(&settings(&cluster.url())).await;
    let keys = keys(&cluster, &valkey);
    for (primary, drill) in ["is asked to give way", "hangs", "is killed"].into_iter().enumerate() {
        let key = &keys[primary][0];
        let kinds = Kinds::of(&valkey, key.clone()).await;
        let before = kinds.measure().await;
        let node = cluster.node(primary);
        match drill {
            "hangs" => node.pause().expect("paused"),
            "is killed" => node.kill().expect("killed"),
            _ => drop(cluster.node(primary + 3).command(&["CLUSTER", "FAILOVER"]).expect("asked")),
        }
        cluster.wait_takeover(key.as_str(), primary).expect("taken over");
        let taken = Instant::now();
        eventually("the new primary is found", async || valkey.run(&COUNT, &[&keys[primary][1]], &[]).await.is_ok())
            .await;
        println!("a primary {drill}: its successor was found {:?} after it took over", taken.elapsed());
        assert!(taken.elapsed() < Duration::from_secs(5), "{drill}: it took {:?}", taken.elapsed());
        match drill {
            "hangs" => node.resume().expect("resumed"),
            "is killed" => node.restart().expect("restarted"),
            _ => {}
        }
        let control = connect(&settings(&cluster.url())).await;
        let control = Kinds::of(&control, key.clone()).await;
        let slow = kinds::until_as_fast(&kinds, &before, &control).await;
        assert_eq!(slow, None, "slow long after a primary {drill}; look at shared/valkey/src/cluster.rs");
    }
}

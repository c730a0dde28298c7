//! Speed of calls after an outage of the store, in the same process; and the service without one shard of its store.

mod support {
    pub(crate) mod service;
}

use std::time::{Duration, Instant};

use keyplane_contracts::session::v1 as pb;
use keyplane_engine::{Cluster, Valkey};
use keyplane_testkit::{eventually, toolbox};
use support::service::{PATIENCE, Service, sample, start_as};
use tonic::Status;

const CALLS: usize = 16;

/// Third slowest of some reads, which finds one slow connection. Two may be the machine's fault.
async fn tail(service: &Service, name: &str) -> Result<Duration, Status> {
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        service.client.clone().get_session(pb::GetSessionRequest { name: name.to_owned() }).await?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[CALLS - 3])
}

/// Measures until reads are as fast as before, or as those of a service that knows no fault.
async fn as_fast_as_before(fault: &str, service: &Service, control: &Service, name: &str, before: Duration) {
    let mut usual = before;
    eventually(fault, PATIENCE, async || {
        usual = usual.max(tail(control, name).await?);
        let now = tail(service, name).await?;
        let bound = usual.mul_f64(1.5).max(usual + Duration::from_millis(1));
        if now <= bound { Ok(()) } else { Err(Status::unknown(format!("{now:?} where it was {usual:?}"))) }
    })
    .await;
}

async fn readyz(service: &Service) -> (u16, String) {
    let url = format!("http://{}/readyz", service.running.admin_addr());
    let response = reqwest::get(url).await.expect("the admin port answers");
    (response.status().as_u16(), response.text().await.expect("a text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_as_fast_after_a_stall_or_a_role_change_as_before() {
    let valkey = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let (app, url) = (keyplane_testkit::app(), valkey.url());
    let mut service = start_as(&app, &url, &[]).await;
    service.wait_ready().await;
    let name = service.create(sample()).await.name;
    let before = tail(&service, &name).await.expect("read");

    valkey.pause().expect("paused");
    eventually("the stall is noticed", PATIENCE, async || readyz(&service).await.0 == 503).await;
    // Long enough for the connections to be given up as well.
    tokio::time::sleep(Duration::from_secs(2)).await;
    valkey.resume().expect("resumed");
    service.wait_ready().await;
    let control = start_as(&app, &url, &[]).await;
    control.wait_ready().await;
    as_fast_as_before("after a stall", &service, &control, &name, before).await;

    // To a primary that is not there, so that the data stays.
    valkey.command(&["REPLICAOF", "127.0.0.1", "1"]).expect("a replica");
    let fails =
        async || service.client.clone().get_session(pb::GetSessionRequest { name: name.clone() }).await.is_err();
    eventually("a replica is not read from", PATIENCE, fails).await;
    valkey.command(&["REPLICAOF", "NO", "ONE"]).expect("a primary again");
    service.wait_ready().await;
    let control = start_as(&app, &url, &[]).await;
    control.wait_ready().await;
    as_fast_as_before("after a role change", &service, &control, &name, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_shard_leaves_the_service_ready_for_the_others() {
    let cluster = Cluster::start(&toolbox(), 3).expect("a cluster");
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("set");
    }
    let mut service = start_as(&keyplane_testkit::app(), &cluster.url(), &[]).await;
    service.wait_ready().await;
    let mut well = Vec::new();
    for user in (0..30).map(|n| format!("u-{n}")) {
        if cluster.primary_of(&format!("{{acme:{user}}}")).expect("asked") != Some(0) {
            let parent = format!("tenants/acme/users/{user}");
            let request = pb::CreateSessionRequest { parent, session: Some(sample()), ..Default::default() };
            well.push(service.client.create_session(request).await.expect("made").into_inner().name);
        }
    }

    cluster.node(0).pause().expect("paused");
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < Duration::from_secs(5) {
        for name in &well {
            let read = service.client.get_session(pb::GetSessionRequest { name: name.clone() }).await;
            read.unwrap_or_else(|status| panic!("call {calls}, {:?} after the node hung: {status:?}", start.elapsed()));
            calls += 1;
        }
        let (code, text) = readyz(&service).await;
        assert_eq!(code, 200, "{:?} after the node hung: {text}", start.elapsed());
    }
    let (_, text) = readyz(&service).await;
    assert!(text.starts_with("ready in part: 2 of 3 primaries of the store answer"), "{text}");
    cluster.node(0).resume().expect("resumed");
    eventually("all of it is ready", PATIENCE, async || readyz(&service).await == (200, "ready\n".to_owned())).await;
}

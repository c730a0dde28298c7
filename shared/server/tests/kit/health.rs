use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyplane_server::{Error, Readiness};
use keyplane_testkit::{Fault, FaultProxy, app, valkey};
use keyplane_valkey::{App, Feature, Need, Settings, Valkey};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::echo::say;
use crate::setup::{Server, nowhere, server, server_following, server_with, until};

async fn status(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status()
}

async fn plain(server: &Server) -> Channel {
    let addr = server.running.health_addr().unwrap();
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_store_and_liveness_does_not() {
    let proxy = FaultProxy::to_port(valkey().port());
    let settings = [("KEYPLANE_KV_COMMAND_TIMEOUT", "300ms"), ("KEYPLANE_KV_CONNECT_TIMEOUT", "300ms")];
    let server = server_following(&proxy.url(&valkey().url()), &settings).await;
    let plain = plain(&server).await;
    until("the process is ready", async || server.page("/readyz").await.0 == 200).await;
    for service in ["", "readiness", "liveness", "test.Echo"] {
        for channel in [&server.channel, &plain] {
            assert_eq!(status(channel, service).await, ServingStatus::Serving, "{service:?}");
        }
    }

    proxy.set(Fault::BlackHole);
    until("the process is not ready", async || status(&plain, "readiness").await == ServingStatus::NotServing).await;
    let (code, reason) = server.page("/readyz").await;
    assert_eq!(code, 503);
    assert!(reason.starts_with("not ready: "), "{reason}");
    assert_eq!(status(&server.channel, "test.Echo").await, ServingStatus::NotServing);
    assert_eq!(status(&plain, "liveness").await, ServingStatus::Serving);
    assert_eq!(server.page("/livez").await.0, 200);

    proxy.set(Fault::Pass);
    until("the process is ready again", async || status(&plain, "").await == ServingStatus::Serving).await;
}

#[tokio::test]
async fn process_without_a_store_is_alive_but_not_ready() {
    let server = server_following(&nowhere(), &[]).await;
    assert_eq!(status(&server.channel, "").await, ServingStatus::NotServing);
    assert_eq!(status(&server.channel, "liveness").await, ServingStatus::Serving);
    assert_eq!(server.page("/readyz").await.0, 503);
    let unknown = HealthCheckRequest { service: "made.up".to_owned() };
    let refused = HealthClient::new(server.channel.clone()).check(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn reason_for_not_being_ready_does_not_change_with_the_connection() {
    let server = server_following(&nowhere(), &[]).await;
    until("the process is not ready", async || server.page("/readyz").await.1.starts_with("not ready: ")).await;
    // Long enough for the breaker to open, and to let a probe pass more than once.
    let mut reasons = BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        reasons.insert(server.page("/readyz").await.1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

/// Readiness from the start, and a sender that decides whether the service answers in full without the store.
fn own() -> (Readiness, watch::Sender<bool>) {
    let (alone, full) = watch::channel(false);
    let (_, ready) = watch::channel(true);
    let check = async || Ok(());
    let readiness = Readiness::follows_store(check).own(ready, "reading a book");
    (readiness.answers_while(move || *full.borrow()), alone)
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_instance_stays_ready_and_gateways_prefer_others() {
    for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen] {
        let proxy = FaultProxy::to_port(valkey().port());
        let (readiness, alone) = own();
        let server = server_with(&proxy.url(&valkey().url()), &[], readiness).await;
        let answers = async || status(&server.channel, "answering").await == ServingStatus::Serving;
        until("it answers in full", answers).await;

        proxy.set(fault);
        let start = Instant::now();
        until(&format!("{fault:?} is reported"), async || !answers().await).await;
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(3),
            "{fault:?} was reported after {took:?}, and callers were rejected meanwhile"
        );
        assert_eq!(server.page("/readyz").await, (200, "ready\n".to_owned()), "{fault:?}");
        assert_eq!(status(&server.channel, "test.Echo").await, ServingStatus::Serving, "{fault:?}");

        alone.send(true).unwrap();
        until("it answers in full by itself", answers).await;
        alone.send(false).unwrap();
        until("it does not any more", async || !answers().await).await;
        proxy.set(Fault::Pass);
        until("it answers in full again", answers).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_with_a_slow_store_does_not_answer_in_full() {
    let proxy = FaultProxy::to_port(valkey().port());
    let server = server_with(&proxy.url(&valkey().url()), &[], own().0).await;
    let answers = async || status(&server.channel, "answering").await == ServingStatus::Serving;
    until("it answers in full", answers).await;

    // Both ways: each answer takes almost half a second, and comes.
    proxy.set(Fault::Delay(Duration::from_millis(220)));
    until("late answers are reported", async || !answers().await).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert!(!answers().await, "a late answer counts as one {:?} after the first", start.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.set(Fault::Pass);
    until("it answers in full again", answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unready_or_draining_process_does_not_answer_in_full() {
    let (ready, says) = watch::channel(false);
    let check = async || Ok(());
    let readiness = Readiness::follows_store(check).own(says, "reading a book");
    let server = server_with(&valkey().url(), &[("KEYPLANE_DRAIN_DELAY", "1s")], readiness).await;
    until("it says what it waits for", async || server.page("/readyz").await.1 == "starting: reading a book\n").await;
    let answers = async || status(&server.channel, "answering").await == ServingStatus::Serving;
    assert!(!answers().await);
    ready.send(true).unwrap();
    until("it answers in full", answers).await;
    ready.send(false).unwrap();
    until("it says what it misses", async || server.page("/readyz").await.1 == "not ready: reading a book\n").await;
    assert!(!answers().await);
    ready.send(true).unwrap();
    until("it answers in full again", answers).await;

    let channel = server.channel.clone();
    let stop = tokio::spawn(server.running.drain_and_stop());
    until("gateways hear of the drain", async || status(&channel, "answering").await == ServingStatus::NotServing)
        .await;
    stop.await.unwrap();
}

#[tokio::test]
async fn own_readiness_is_followed() {
    let (ready, says) = watch::channel(false);
    let readiness = Readiness::follows_store(async || Ok(())).own(says, "reading a book");
    let server = server_with(&nowhere(), &[], readiness).await;
    assert_eq!(server.page("/readyz").await.0, 503);
    ready.send(true).unwrap();
    until("the process is ready", async || server.page("/readyz").await.0 == 200).await;
    ready.send(false).unwrap();
    until("the process is not ready", async || server.page("/readyz").await.0 == 503).await;
}

#[tokio::test]
async fn health_watch_reports_the_drain_and_ends() {
    let server = server(&[]).await;
    until("the process is ready", async || server.page("/readyz").await.0 == 200).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(server.channel.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let stop = tokio::spawn(server.running.drain_and_stop());
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(5), stop).await.expect("the watch doesn't hold the drain").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn start_check_is_repeated_until_it_passes_and_a_foreign_layout_ends_the_process() {
    let app = app();
    let store = Valkey::connect(&Settings::new(valkey().url()), App::new(&app).unwrap()).unwrap();
    store.wait_ready(Duration::from_secs(10)).await.unwrap();
    store.check_layout(Feature::SESSION, 1).await.unwrap();

    let (allow, allowed) = watch::channel(false);
    let checked = store.clone();
    let readiness = Readiness::follows_store(move || {
        let (store, version) = (checked.clone(), if *allowed.borrow() { 1 } else { 2 });
        async move {
            match version {
                1 => store.check_layout(Feature::SESSION, 1).await,
                _ => Err(missing().await),
            }
        }
    });
    let server = server_with(&valkey().url(), &[("KEYPLANE_APP", &app)], readiness).await;
    until("the check failed", async || server.page("/readyz").await.1.starts_with("not ready: ")).await;
    allow.send(true).unwrap();
    until("the check passes", async || server.page("/readyz").await.0 == 200).await;

    let checked = store.clone();
    let readiness = Readiness::follows_store(move || {
        let store = checked.clone();
        async move { store.check_layout(Feature::SESSION, 2).await }
    });
    let server = server_with(&valkey().url(), &[("KEYPLANE_APP", &app)], readiness).await;
    let error = tokio::time::timeout(Duration::from_secs(10), server.running.wait()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Layout(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_readiness_counts_once_the_check_has_passed() {
    let (allow, allowed) = watch::channel(false);
    let (ready, says) = watch::channel(true);
    let checks = Arc::new(AtomicUsize::new(0));
    let counted = checks.clone();
    let check = move || {
        let allowed = *allowed.borrow();
        counted.fetch_add(1, Ordering::SeqCst);
        async move { if allowed { Ok(()) } else { Err(missing().await) } }
    };
    // The store stays away all the time.
    let readiness = Readiness::follows_store(check).own(says, "reading a book");
    let server = server_with(&nowhere(), &[], readiness).await;
    until("the check failed", async || server.page("/readyz").await.1.starts_with("not ready: ")).await;
    let refusal = say(&server.channel, "hello").await.expect_err("the check has not passed");
    let reason = refusal.get_details_error_info().expect("an ErrorInfo").reason;
    assert_eq!((refusal.code(), reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"), "the check's own error");

    allow.send(true).unwrap();
    until("the process is ready", async || server.page("/readyz").await.0 == 200).await;
    let passed = checks.load(Ordering::SeqCst);
    say(&server.channel, "hello").await.expect("the gate is open");
    ready.send(false).unwrap();
    until("the process is not ready", async || server.page("/readyz").await.0 == 503).await;
    say(&server.channel, "hello").await.expect("the gate stays open");
    ready.send(true).unwrap();
    until("the process is ready again", async || server.page("/readyz").await.0 == 200).await;
    assert_eq!(checks.load(Ordering::SeqCst), passed, "a check that passed is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_layout_ends_a_process_with_own_readiness() {
    let app = app();
    let store = Valkey::connect(&Settings::new(valkey().url()), App::new(&app).unwrap()).unwrap();
    store.wait_ready(Duration::from_secs(10)).await.unwrap();
    store.check_layout_with(Feature::REVOCATION, 1, 4).await.unwrap();
    let check = move || {
        let store = store.clone();
        async move { store.check_layout_with(Feature::REVOCATION, 1, 8).await }
    };
    let (_, says) = watch::channel(true);
    let server = server_with(
        &valkey().url(),
        &[("KEYPLANE_APP", &app)],
        Readiness::follows_store(check).own(says, "reading a book"),
    )
    .await;
    let error = tokio::time::timeout(Duration::from_secs(10), server.running.wait()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Layout(_)) && error.to_string().contains("4 partitions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_engine_feature_is_reported_before_a_handler_runs() {
    let store = Valkey::connect(&Settings::new(valkey().url()), App::new(&app()).unwrap()).unwrap();
    let (lacks, lacking) = watch::channel(true);
    let readiness = Readiness::follows_store(move || {
        let (store, lacks) = (store.clone(), *lacking.borrow());
        let needs: &[Need] = if lacks { &[Need::Bloom] } else { &[Need::Scripts] };
        async move { store.probe(needs).await.map(drop) }
    });
    let server = server_with(&valkey().url(), &[], readiness).await;
    let refusal = async || say(&server.channel, "hello").await.expect_err("the check has not passed");
    let reason = |status: &Status| status.get_details_error_info().expect("an ErrorInfo").reason;
    until("the probe failed", async || reason(&refusal().await) == "ENGINE_FEATURE_MISSING").await;
    assert_eq!(refusal().await.code(), Code::FailedPrecondition);
    assert_eq!(status(&server.channel, "").await, ServingStatus::NotServing, "health is served");
    let (code, why) = server.page("/readyz").await;
    assert!(code == 503 && why.contains("BF."), "{code} {why}");

    lacks.send(false).unwrap();
    until("the probe passes", async || say(&server.channel, "hello").await.is_ok()).await;
}

/// Error of a missing store.
async fn missing() -> keyplane_valkey::Error {
    let store = Valkey::connect(&Settings::new(nowhere()), App::new("away").unwrap()).unwrap();
    store.ping().await.unwrap_err()
}

//! Answers while the store is unavailable, slow, restarted or emptied, and while the service itself stops.

mod support {
    pub(crate) mod service;
}

use std::time::{Duration, Instant};

use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_event::Type;
use keyplane_engine::Valkey;
use keyplane_testkit::{Fault, FaultProxy, eventually, toolbox};
use support::service::{PARENT, PATIENCE, Service, details, sample, start};
use tokio::time::timeout;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn behind_a_proxy() -> (FaultProxy, Service) {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let service = start(&proxy.url(&valkey.url()), &[]).await;
    (proxy, service)
}

async fn http_status(service: &Service, path: &str) -> u16 {
    let url = format!("http://{}{path}", service.running.admin_addr());
    reqwest::get(url).await.expect("the admin port answers").status().as_u16()
}

async fn health(service: &Service, name: &str) -> ServingStatus {
    let mut client = HealthClient::new(keyplane_testkit::channel(service.running.grpc_addr()));
    let request = HealthCheckRequest { service: name.to_owned() };
    client.check(request).await.expect("it answers").into_inner().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_calls_fail_in_time_and_resume_by_themselves() {
    let (proxy, mut service) = behind_a_proxy().await;
    let made = service.create(sample()).await;
    for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen] {
        proxy.set(fault);
        for _ in 0..8 {
            let mut request = Request::new(pb::GetSessionRequest { name: made.name.clone() });
            request.set_timeout(Duration::from_millis(800));
            let began = Instant::now();
            let status = service.client.get_session(request).await.expect_err("the store is unavailable");
            assert!(began.elapsed() < Duration::from_secs(2), "{fault:?}: it took {:?}", began.elapsed());
            let found = details(&status, Code::Unavailable, "STORE_UNAVAILABLE");
            assert!(found.retry_info().is_some(), "{status:?}");
            let patch =
                pb::Session { name: made.name.clone(), last_path: Some("/away".into()), ..pb::Session::default() };
            let status = service.update(patch).await.expect_err("the store is unavailable");
            details(&status, Code::Unavailable, "STORE_UNAVAILABLE");
        }
        let unready = async || http_status(&service, "/readyz").await == 503;
        eventually("readiness follows the store", PATIENCE, unready).await;
        // Where the breaker is open the error says so, and not that the store was too slow.
        let client = service.client.clone();
        eventually("a call fails at once", PATIENCE, async || {
            let request = pb::GetSessionRequest { name: made.name.clone() };
            let status = client.clone().get_session(request).await.expect_err("the store is unavailable");
            let said = "the store has not answered lately: calls fail at once, next attempt in ";
            if status.message().starts_with(said) { Ok(()) } else { Err(status.message().to_owned()) }
        })
        .await;
        assert_eq!(http_status(&service, "/livez").await, 200, "liveness does not");
        assert_eq!(health(&service, "").await, ServingStatus::NotServing);
        assert_eq!(health(&service, "liveness").await, ServingStatus::Serving);

        proxy.set(Fault::Pass);
        let client = service.client.clone();
        eventually("calls work again, without a restart", PATIENCE, async || {
            client.clone().get_session(pb::GetSessionRequest { name: made.name.clone() }).await.is_ok()
        })
        .await;
        service.wait_ready().await;
        assert_eq!(health(&service, "").await, ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_store_is_used_again() {
    let valkey = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let mut service = start(&valkey.url(), &[]).await;
    let made = service.create(sample()).await;
    let request = pb::WatchSessionsRequest { name: PARENT.into(), after: String::new() };
    let mut watch = service.client.watch_sessions(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().sessions.len(), 1);

    valkey.restart().expect("it starts again, empty");
    let client = service.client.clone();
    let lost = async || {
        let read = client.clone().get_session(pb::GetSessionRequest { name: made.name.clone() }).await;
        read.is_err_and(|status| status.code() == Code::NotFound)
    };
    eventually("the session is lost, and the service knows", PATIENCE, lost).await;
    // The watch goes on: its position is lost, so it sends a new snapshot.
    let event = timeout(PATIENCE, watch.message()).await.expect("a snapshot comes").unwrap().expect("no end");
    assert_eq!((event.r#type(), event.sessions.len()), (Type::Snapshot, 0));
    let again = service.create(sample()).await;
    let event = timeout(PATIENCE, watch.message()).await.expect("an event comes").unwrap().expect("no end");
    assert_eq!((event.r#type(), event.name), (Type::Created, again.name));
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_loaded_again() {
    let valkey = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let mut service = start(&valkey.url(), &[]).await;
    let made = service.create(sample()).await;
    valkey.command(&["SCRIPT", "FLUSH"]).expect("the scripts are flushed");
    let patch = pb::Session { name: made.name, last_path: Some("/next".into()), ..pb::Session::default() };
    assert_eq!(service.update(patch).await.unwrap().last_path(), "/next");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_survives_a_short_outage() {
    let (proxy, mut service) = behind_a_proxy().await;
    let made = service.create(sample()).await;
    let request = pb::WatchSessionsRequest { name: made.name.clone(), after: String::new() };
    let mut watch = service.client.watch_sessions(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("a snapshot");

    proxy.set(Fault::Cut);
    let unready = async || http_status(&service, "/readyz").await == 503;
    eventually("the outage is noticed", PATIENCE, unready).await;
    proxy.set(Fault::Pass);
    service.wait_ready().await;
    let patch = pb::Session { name: made.name, last_path: Some("/after".into()), ..pb::Session::default() };
    service.update(patch).await.unwrap();
    let event = timeout(PATIENCE, watch.message()).await.expect("an event comes").unwrap().expect("no end");
    assert_eq!((event.r#type(), event.session.unwrap().last_path()), (Type::Updated, "/after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_layout_is_refused() {
    let valkey = keyplane_testkit::valkey();
    let app = keyplane_testkit::app();
    valkey.command(&["SET", &format!("{app}:session:layout"), "999"]).expect("a later release was here");
    let mut service = support::service::start_as(&app, &valkey.url(), &[]).await;
    // The port is open before the store is known. Nothing may be written until it is.
    let status = service.client.create_session(support::service::parent()).await.expect_err("it writes nothing");
    assert!(matches!(status.code(), Code::Unavailable | Code::FailedPrecondition), "{status:?}");
    let ended = timeout(PATIENCE, service.running.wait()).await.expect("it does not go on");
    let error = ended.expect_err("it ends").to_string();
    assert!(error.contains("layout") && error.contains("999"), "{error}");
    let keys = valkey.command(&["KEYS", &format!("{app}:*")]).expect("the keys of the app");
    assert!(matches!(&keys, keyplane_engine::Reply::Array(keys) if keys.len() == 1), "the layout alone: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_that_waits_for_its_store_asks_browsers_to_retry() {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    proxy.set(Fault::Cut);
    let app = keyplane_testkit::app();
    let mut service = support::service::start_as(&app, &proxy.url(&valkey.url()), &[]).await;
    let mut request = Request::new(pb::StreamSessionEventsRequest { name: PARENT.into(), after: String::new() });
    request.metadata_mut().insert("accept", "text/event-stream".parse().unwrap());
    let mut stream = service.client.stream_session_events(request).await.expect("a stream").into_inner();
    let body = stream.message().await.expect("no error").expect("an event");
    assert!(body.data.starts_with(b"retry: 1000\n\nevent: error\ndata: {"), "{body:?}");
    proxy.set(Fault::Pass);
    service.wait_ready().await;
    service.create(sample()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_an_event_source_is_told_to_come_again() {
    let (proxy, mut service) = behind_a_proxy().await;
    let made = service.create(sample()).await;
    proxy.set(Fault::Cut);
    let request = || Request::new(pb::StreamSessionEventsRequest { name: made.name.clone(), after: String::new() });
    let status = service.client.stream_session_events(request()).await.expect_err("the store is unavailable");
    details(&status, Code::Unavailable, "STORE_UNAVAILABLE");

    let mut browsers = request();
    browsers.metadata_mut().insert("accept", "text/event-stream".parse().unwrap());
    let mut stream = service.client.stream_session_events(browsers).await.expect("a stream").into_inner();
    let body = stream.message().await.expect("no error").expect("an event");
    let text = std::str::from_utf8(&body.data).unwrap();
    assert!(text.starts_with("retry: 1000\n\nevent: error\ndata: {"), "{text}");
    assert!(text.contains("STORE_UNAVAILABLE") && text.ends_with("\n\n"), "{text}");
    let end = stream.message().await.expect_err("the true status, which a browser doesn't see");
    details(&end, Code::Unavailable, "STORE_UNAVAILABLE");
}

//! Order of the layers, as an observer sees it: see docs/layers.md.

use std::time::Duration;

use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::echo::{call, occupy, say, watch, watch_as};
use crate::setup::{calls, connect, server, until};

#[tokio::test]
async fn panic_is_internal_counted_and_costs_only_its_own_call() {
    let server = server(&[]).await;
    let bystander = tokio::spawn({
        let channel = server.channel.clone();
        async move { say(&channel, "sleep 100").await }
    });
    let status = call(&server.channel, "/test.Echo/SayPanic", Request::new("panic".to_owned())).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "internal error");
    assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
    assert!(bystander.await.unwrap().is_ok());
    assert_eq!(say(&server.channel, "hello").await.unwrap(), "hello");
    assert_eq!(calls("test.Echo/SayPanic", "INTERNAL"), 1);
    assert!(server.page("/metrics").await.1.contains("keyplane_server_panics_total"));
}

#[tokio::test]
async fn panic_in_a_stream_ends_the_stream() {
    let server = server(&[]).await;
    let mut stream =
        watch_as(&server.channel, "/test.Echo/WatchPanic", Request::new("panic".to_owned())).await.unwrap();
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
    assert_eq!(calls("test.Echo/WatchPanic", "INTERNAL"), 1);
}

#[tokio::test]
async fn shed_call_is_counted_and_health_passes() {
    let server = server(&[("KEYPLANE_MAX_IN_FLIGHT", "1")]).await;
    let slow = occupy(&server.channel);
    let mut refused = None;
    until("a call is shed", async || {
        refused = call(&server.channel, "/test.Echo/SayShed", Request::new("sleep 5".to_owned())).await.err();
        refused.is_some()
    })
    .await;
    let status = refused.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    assert_eq!(calls("test.Echo/SayShed", "UNAVAILABLE"), 1);

    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest { service: "liveness".to_owned() }).await.unwrap();
    slow.await.unwrap();
}

#[tokio::test]
async fn watch_holds_no_place() {
    let server = server(&[("KEYPLANE_MAX_IN_FLIGHT", "1")]).await;
    let mut watches = Vec::new();
    for _ in 0..5 {
        let mut stream = watch(&server.channel, Request::new(String::new())).await.unwrap();
        stream.next().await.unwrap().unwrap();
        watches.push(stream);
    }
    assert_eq!(say(&server.channel, "hello").await.unwrap(), "hello");
    drop(watches);
}

#[tokio::test]
async fn abandoned_call_is_counted_as_cancelled() {
    let server = server(&[]).await;
    let channel = connect(&server.running).await;
    let request = Request::new("sleep 1500".to_owned());
    let gone = tokio::time::timeout(Duration::from_millis(100), call(&channel, "/test.Echo/SayGone", request)).await;
    assert!(gone.is_err());
    until("the cancelled call is counted", async || calls("test.Echo/SayGone", "CANCELLED") == 1).await;
}

#[tokio::test]
async fn stream_is_counted_when_it_ends() {
    let server = server(&[]).await;
    let mut stream = watch_as(&server.channel, "/test.Echo/WatchGone", Request::new(String::new())).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    until("the stream is counted", async || calls("test.Echo/WatchGone", "CANCELLED") == 1).await;
}

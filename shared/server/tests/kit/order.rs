//! What the order of the layers means to an observer: see docs/layers.md.

use std::time::Duration;

use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::echo::{occupy, say, watch};
use crate::setup::{calls, connect, server, until};

const SAY: &str = "test.Echo/Say";
const WATCH: &str = "test.Echo/Watch";

#[tokio::test]
async fn a_panic_is_internal_counted_and_costs_only_its_own_call() {
    let server = server(&[]).await;
    let before = calls(SAY, "INTERNAL");
    let bystander = tokio::spawn({
        let channel = server.channel.clone();
        async move { say(&channel, "sleep 100").await }
    });
    let status = say(&server.channel, "panic").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "internal error");
    assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
    assert!(bystander.await.unwrap().is_ok());
    assert_eq!(say(&server.channel, "hello").await.unwrap(), "hello");
    assert!(calls(SAY, "INTERNAL") > before);
    assert!(server.page("/metrics").await.1.contains("keyplane_server_panics_total"));
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_the_stream() {
    let server = server(&[]).await;
    let before = calls(WATCH, "INTERNAL");
    let mut stream = watch(&server.channel, Request::new("panic".to_owned())).await.unwrap();
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
    assert!(calls(WATCH, "INTERNAL") > before);
}

#[tokio::test]
async fn a_shed_call_is_counted_and_health_passes() {
    let server = server(&[("KEYPLANE_MAX_IN_FLIGHT", "1")]).await;
    let before = calls(SAY, "UNAVAILABLE");
    let slow = occupy(&server.channel);
    let mut refused = None;
    until("a call is shed", async || {
        refused = say(&server.channel, "sleep 5").await.err();
        refused.is_some()
    })
    .await;
    let status = refused.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    assert!(calls(SAY, "UNAVAILABLE") > before);

    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest { service: "liveness".to_owned() }).await.unwrap();
    slow.await.unwrap();
}

#[tokio::test]
async fn a_watch_holds_no_place() {
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
async fn a_call_that_nobody_waits_for_is_counted_as_cancelled() {
    let server = server(&[]).await;
    let before = calls(SAY, "CANCELLED");
    let channel = connect(&server.running).await;
    let gone = tokio::time::timeout(Duration::from_millis(100), say(&channel, "sleep 1500")).await;
    assert!(gone.is_err());
    until("the cancelled call is counted", async || calls(SAY, "CANCELLED") > before).await;
}

#[tokio::test]
async fn a_stream_is_counted_when_it_ends() {
    let server = server(&[]).await;
    let before = calls(WATCH, "CANCELLED");
    let mut stream = watch(&server.channel, Request::new(String::new())).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    until("the stream is counted", async || calls(WATCH, "CANCELLED") > before).await;
}

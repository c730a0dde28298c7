use std::time::{Duration, Instant};

use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::echo::{say, say_within, watch};
use crate::setup::server;

#[tokio::test]
async fn call_past_its_deadline_has_details() {
    let server = server(&[]).await;
    for _ in 0..20 {
        let began = Instant::now();
        let status = say_within(&server, "sleep 5000", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(began.elapsed() >= Duration::from_millis(40));
    }
}

#[tokio::test]
async fn deadline_defaults_and_has_a_maximum() {
    let server = server(&[("KEYPLANE_DEFAULT_DEADLINE", "100ms"), ("KEYPLANE_MAX_DEADLINE", "200ms")]).await;
    let status = say(&server.channel, "sleep 5000").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);

    let began = Instant::now();
    let status = say_within(&server, "sleep 5000", Duration::from_secs(4)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn store_gets_the_remaining_time() {
    let server = server(&[]).await;
    let left: u64 = say_within(&server, "remaining", Duration::from_millis(800)).await.unwrap().parse().unwrap();
    assert!((1..=800).contains(&left), "{left}");
}

#[tokio::test]
async fn missing_store_is_unavailable_before_the_deadline_passes() {
    let server = server(&[]).await;
    let status = say_within(&server, "ping", Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "STORE_UNAVAILABLE");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
}

/// Calls without time for the store must not report that the store is unavailable.
#[tokio::test]
async fn deadline_without_time_for_the_store_is_deadline_exceeded() {
    let server = server(&[]).await;
    let status = say(&server.channel, "late-ping").await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    assert!(details.retry_info().is_none() && status.message().contains("no time to ask the store"), "{status:?}");
}

#[tokio::test]
async fn call_with_less_than_a_millisecond_is_not_begun() {
    let server = server(&[]).await;
    let status = say_within(&server, "panic", Duration::ZERO).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    assert!(status.message().contains("too short"), "{status:?}");
}

#[tokio::test]
async fn stream_ends_at_its_callers_deadline_and_has_none_otherwise() {
    let server = server(&[("KEYPLANE_DEFAULT_DEADLINE", "20ms"), ("KEYPLANE_MAX_DEADLINE", "20ms")]).await;
    let mut request = Request::new(String::new());
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let mut timed = watch(&server.channel, request).await.unwrap();
    let status = loop {
        match timed.next().await.unwrap() {
            Ok(text) => assert_eq!(text, "tick"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");

    let mut free = watch(&server.channel, Request::new(String::new())).await.unwrap();
    for _ in 0..10 {
        assert_eq!(free.next().await.unwrap().unwrap(), "tick");
    }
}

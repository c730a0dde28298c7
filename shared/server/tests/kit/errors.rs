use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::echo::{call, say};
use crate::setup::server;

#[tokio::test]
async fn unknown_method_has_details_and_no_name_in_the_metrics() {
    let server = server(&[]).await;
    for path in ["/test.Echo/Missing", "/made.up.Service/Method"] {
        let status = call(&server.channel, path, Request::new(String::new())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("METHOD_UNKNOWN", "keyplane.dev"));
    }
    let (_, metrics) = server.page("/metrics").await;
    assert!(metrics.contains("rpc_method=\"_OTHER\""));
    assert!(!metrics.contains("made.up"));
}

#[tokio::test]
async fn too_large_message_has_details() {
    let server = server(&[("KEYPLANE_GRPC_MAX_MESSAGE", "64KiB")]).await;
    let status = say(&server.channel, &"x".repeat(65 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_TOO_LARGE");
    assert!(say(&server.channel, &"x".repeat(63 * 1024)).await.is_ok());
}

#[tokio::test]
async fn many_cancelled_calls_do_not_cost_the_connection() {
    let server = server(&[]).await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        let channel = server.channel.clone();
        calls.push(tokio::spawn(async move { say(&channel, "sleep 1000").await }));
    }
    tokio::task::yield_now().await;
    for call in &calls {
        call.abort();
    }
    assert_eq!(say(&server.channel, "hello").await.unwrap(), "hello");
}

use std::time::{Duration, Instant};

use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::Request;

use crate::echo::{say, watch};
use crate::setup::{connect, server, until};

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_succeed_during_the_drain() {
    let server = server(&[("KEYPLANE_DRAIN_DELAY", "300ms")]).await;
    let mut stream = watch(&server.channel, Request::new(String::new())).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let channel = server.channel.clone();
            tokio::spawn(async move { say(&channel, "sleep 800").await })
        })
        .collect();
    let addr = server.running.grpc_addr();
    let (admin, channel) = (server.running.admin_addr(), server.channel.clone());
    let stop = tokio::spawn(server.running.drain_and_stop());

    // While load balancers take the process out, it says so and still answers.
    until("readiness reports the drain", async || {
        reqwest::get(format!("http://{admin}/readyz")).await.unwrap().text().await.unwrap().contains("draining")
    })
    .await;
    assert_eq!(say(&channel, "hello").await.unwrap(), "hello");

    let mut last = String::new();
    while let Some(text) = stream.next().await {
        last = text.expect("the stream ends without an error");
    }
    assert_eq!(last, "bye");
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "sleep 800");
    }
    stop.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn silent_peer_does_not_hold_the_drain() {
    let server = server(&[]).await;
    let mut silent = TcpStream::connect(server.running.grpc_addr()).await.unwrap();
    // Another call, so that the server has surely accepted the silent connection before it.
    say(&connect(&server.running).await, "hello").await.unwrap();
    let began = Instant::now();
    server.running.drain_and_stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    let mut rest = Vec::new();
    // The server's own SETTINGS may come first; then the end, or a reset.
    let _ = silent.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn stream_that_ignores_the_drain_is_closed_by_force() {
    let server = server(&[("KEYPLANE_DRAIN_TIMEOUT", "300ms")]).await;
    let mut stream = watch(&server.channel, Request::new("deaf".to_owned())).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "on");
    let began = Instant::now();
    server.running.drain_and_stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert!(stream.next().await.unwrap().is_err(), "the connection is closed");
}

#[tokio::test]
async fn old_connection_gets_goaway_and_its_calls_succeed() {
    let server = server(&[("KEYPLANE_GRPC_MAX_CONNECTION_AGE", "200ms")]).await;
    let io = TokioIo::new(TcpStream::connect(server.running.grpc_addr()).await.unwrap());
    let (_sender, idle) = handshake::<_, _, tonic::body::Body>(TokioExecutor::new(), io).await.unwrap();
    let idle = tokio::spawn(idle);

    assert_eq!(say(&server.channel, "sleep 700").await.unwrap(), "sleep 700");
    assert_eq!(say(&server.channel, "hello").await.unwrap(), "hello");
    let closed = tokio::time::timeout(Duration::from_secs(5), idle).await.expect("an idle connection closes");
    closed.unwrap().expect("with GOAWAY, not with a reset");
}

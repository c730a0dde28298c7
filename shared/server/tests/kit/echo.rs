//! gRPC service `test.Echo`, made by hand: `Say` is unary, `Watch` streams. The text of a call commands it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyplane_server::{Drain, ServiceInfo, status};
use keyplane_valkey::Valkey;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tracing::Instrument as _;

use crate::setup::Server;

pub(crate) static INFO: LazyLock<ServiceInfo> = LazyLock::new(|| ServiceInfo {
    name: "echo",
    version: "1.2.3",
    grpc_services: &["test.Echo"],
    descriptors: vec![descriptor().leak() as &[u8]].leak(),
    default_port: 50099,
});

/// Unary methods, all alike: tests that count calls have one each.
const SAYS: [&str; 4] = ["Say", "SayPanic", "SayShed", "SayGone"];
/// Streaming methods, all alike.
const WATCHES: [&str; 3] = ["Watch", "WatchPanic", "WatchGone"];

#[derive(Clone)]
pub(crate) struct Echo {
    pub(crate) drain: Drain,
    pub(crate) store: Valkey,
    pub(crate) max_message: usize,
}

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

// === impl Echo ===

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default())
                .apply_max_message_size_config(Some(echo.max_message), None);
            Ok(match request.uri().path() {
                path if path.starts_with("/test.Echo/Say") => {
                    let say = service_fn(move |request: Request<String>| echo.clone().say(request.into_inner()));
                    grpc.unary(say, request).await
                }
                path if path.starts_with("/test.Echo/Watch") => {
                    let watch = service_fn(move |request: Request<String>| {
                        std::future::ready(Ok(Response::new(echo.clone().watch(request.into_inner()))))
                    });
                    grpc.server_streaming(watch, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

impl Echo {
    async fn say(self, text: String) -> Result<Response<String>, Status> {
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("sleep", millis) => sleep(Duration::from_millis(millis.parse().unwrap())).await,
            ("panic", _) => panic!("asked to"),
            ("ping", _) => self.store.ping().await.map_err(status)?,
            // With no time left for it.
            ("late-ping", _) => {
                let now = tokio::time::Instant::now();
                keyplane_deadline::scope(now, self.store.ping()).await.map_err(status)?;
            }
            ("child", _) => async {}.instrument(tracing::info_span!(target: "keyplane_test", "child")).await,
            ("remaining", _) => {
                let remaining = keyplane_deadline::remaining();
                return Ok(Response::new(
                    remaining.map_or_else(|| "none".to_owned(), |left| left.as_millis().to_string()),
                ));
            }
            _ => {}
        }
        Ok(Response::new(text))
    }

    /// Streams a tick every ten milliseconds until the drain, then `bye`.
    fn watch(self, text: String) -> Texts {
        if text == "panic" {
            return Box::pin(stream::once(async { panic!("asked to") }));
        }
        if text == "deaf" {
            return Box::pin(stream::once(async { Ok("on".to_owned()) }).chain(stream::pending()));
        }
        let ticks = stream::unfold(interval(Duration::from_millis(10)), |mut ticks| async {
            ticks.tick().await;
            Some((Ok("tick".to_owned()), ticks))
        });
        let drain = self.drain;
        let ended = async move { drain.started().await };
        Box::pin(ticks.take_until(ended).chain(stream::once(async { Ok("bye".to_owned()) })))
    }
}

pub(crate) async fn say(channel: &Channel, text: &str) -> Result<String, Status> {
    say_request(channel, Request::new(text.to_owned())).await
}

/// Calls with a deadline, over bare hyper: tonic's channel keeps time itself and would answer for the server.
pub(crate) async fn say_within(server: &Server, text: &str, timeout: Duration) -> Result<String, Status> {
    let addr = server.running.grpc_addr();
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let service = service_fn(move |request: http::Request<Body>| sender.clone().send_request(request));
    let mut client = tonic::client::Grpc::with_origin(service, format!("http://{addr}").parse().unwrap());
    let mut request = Request::new(text.to_owned());
    request.metadata_mut().insert("grpc-timeout", format!("{}m", timeout.as_millis()).parse().unwrap());
    let codec = ProstCodec::<String, String>::default();
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Say");
    client.unary(request, path, codec).await.map(Response::into_inner)
}

/// Fills the only place of the server with a call, retried until it has it.
pub(crate) fn occupy(channel: &Channel) -> JoinHandle<()> {
    let channel = channel.clone();
    tokio::spawn(async move { while say(&channel, "sleep 1000").await.is_err() {} })
}

pub(crate) async fn say_request(channel: &Channel, request: Request<String>) -> Result<String, Status> {
    call(channel, "/test.Echo/Say", request).await
}

pub(crate) async fn call(channel: &Channel, path: &'static str, request: Request<String>) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<String, String>::default();
    client.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
}

pub(crate) async fn watch(channel: &Channel, request: Request<String>) -> Result<Streaming<String>, Status> {
    watch_as(channel, "/test.Echo/Watch", request).await
}

pub(crate) async fn watch_as(
    channel: &Channel,
    path: &'static str,
    request: Request<String>,
) -> Result<Streaming<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = ProstCodec::<String, String>::default();
    client.server_streaming(request, path, codec).await.map(Response::into_inner)
}

fn descriptor() -> Vec<u8> {
    let method = |name: &str, streams| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".google.protobuf.StringValue".to_owned()),
        output_type: Some(".google.protobuf.StringValue".to_owned()),
        server_streaming: Some(streams),
        ..Default::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Echo".to_owned()),
        method: SAYS
            .map(|name| method(name, false))
            .into_iter()
            .chain(WATCHES.map(|name| method(name, true)))
            .collect(),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("test/echo.proto".to_owned()),
        package: Some("test".to_owned()),
        service: vec![service],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

//! Time limits: a request that trickles, stalls or stays silent is cut off; a stream is not.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::session::v1 as session;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_testkit::eventually;
use serde_json::json;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::support::gate::{Gate, before};
use crate::support::{bearer, http, reason};
use crate::{PATIENCE, connect, mesh, parsed};

const CONFIG: &str = include_str!("../../../envoy/gateway.yaml");
const TOO_SLOW: (i64, &str) = (4, "REQUEST_TOO_SLOW");

/// Shipped configuration with some times replaced.
fn with(mut config: String, times: &[(&str, &str)]) -> String {
    for (name, shorter) in times {
        let start = format!(" {name}: ");
        let (first, rest) = config.split_once(&start).unwrap_or_else(|| panic!("gateway.yaml has no {name}"));
        let after = rest.split_once('\n').unwrap().1;
        config = format!("{first}{start}{shorter}\n{after}");
    }
    config
}

/// Sends `head`, then single bytes, until the gateway closes the connection; returns the answer.
fn trickle(url: &str, head: &str) -> String {
    let mut stream = connect(url);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let (began, mut answer, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    while began.elapsed() < PATIENCE {
        match stream.read(&mut buffer) {
            Ok(0) => return String::from_utf8(answer).unwrap(),
            Ok(count) => answer.extend(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // The gateway may have closed the connection.
                let _ = stream.write_all(b"a");
            }
            Err(_) => return String::from_utf8(answer).unwrap(),
        }
    }
    panic!("held for {:?}: {head}", began.elapsed());
}

/// Sends `hello`, then nothing, until the gateway closes the connection.
fn silent(url: &str, hello: &[u8]) {
    let mut stream = connect(url);
    stream.write_all(hello).unwrap();
    let closed = stream.read_to_end(&mut Vec::new());
    closed.unwrap_or_else(|error| panic!("held for {PATIENCE:?}: {error}"));
}

/// Starts a unary call whose request never ends.
async fn endless_call(channel: Channel, path: &'static str, token: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(ticks());
    request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.client_streaming(request, PathAndQuery::from_static(path), codec).await.map(drop)
}

fn ticks() -> impl Stream<Item = ()> {
    stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some(((), ()))
    })
}

/// Open streams of one caller.
struct Streams {
    events: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>>>>,
    sessions: Streaming<session::SessionEvent>,
    items: tokio::sync::mpsc::Sender<pb::BulkRevokeRequest>,
    results: Streaming<pb::BulkRevokeResponse>,
    revocations: Streaming<pb::WatchResponse>,
}

// === impl Streams ===

impl Streams {
    async fn open(url: &str, channel: &Channel, token: &str) -> Streams {
        let parent = "tenants/demo/users/streamer".to_owned();
        let request = http(token).get(format!("{url}/v1/{parent}/sessions:watch")).send().await.unwrap();
        assert_eq!(request.status(), 200);
        let events = Box::pin(request.bytes_stream());
        let watch = session::WatchSessionsRequest { name: parent, ..session::WatchSessionsRequest::default() };
        let mut client = SessionServiceClient::new(channel.clone());
        let sessions = client.watch_sessions(with_token(watch, token)).await.unwrap().into_inner();
        let mut client = RevocationServiceClient::new(channel.clone());
        let (items, sent) = tokio::sync::mpsc::channel(1);
        let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
        let results = client.bulk_revoke(with_token(sent, token)).await.unwrap().into_inner();
        let watch = pb::WatchRequest { parent: "tenants/demo".to_owned(), ..pb::WatchRequest::default() };
        let revocations = client.watch(with_token(watch, token)).await.unwrap().into_inner();
        Streams { events, sessions, items, results, revocations }
    }

    /// Checks that each stream still delivers events.
    async fn are_alive(mut self, url: &str, token: &str) {
        let path = format!("{url}/v1/tenants/demo/users/streamer/sessions");
        let created = http(token).post(path).json(&json!({"companyId": "c-7"})).send().await.unwrap();
        assert_eq!(created.status(), 200);
        let mut text = String::new();
        while !text.contains("event: created") {
            let chunk = self.events.next().await.unwrap_or_else(|| panic!("the watch ended: {text}")).unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        let mut event = String::new();
        while !event.contains("c-7") {
            event = format!("{:?}", self.sessions.message().await.unwrap().expect("the watch continues"));
        }
        let session = pb::RevokeSessionRequest {
            parent: "tenants/demo".to_owned(),
            sid: "streamed".to_owned(),
            ..pb::RevokeSessionRequest::default()
        };
        let target = Some(pb::revoke_request::Target::Session(session));
        let item = pb::BulkRevokeRequest { item: "1".to_owned(), request: Some(pb::RevokeRequest { target }) };
        self.items.send(item).await.expect("the stream goes on");
        assert_eq!(self.results.message().await.unwrap().expect("a result").item, "1");
        let mut event = String::new();
        while !event.contains("streamed") {
            event = format!("{:?}", self.revocations.message().await.unwrap().expect("the watch continues"));
        }
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    request
}

// === tests ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_cut_off_and_streams_are_not() {
    let times = [
        ("idle_timeout", "1s"),
        ("max_stream_duration", "3s"),
        ("request_headers_timeout", "1s"),
        ("request_timeout", "2s"),
        ("stream_idle_timeout", "3s"),
    ];
    let (_envoy, url) = before(mesh(), "door-times", |config| with(config, &times));
    let url: &'static str = url.leak();
    let token = &*mesh().endpoints().token;
    let channel = Endpoint::from_static(url).connect_lazy();
    eventually("the gateway reaches the services", PATIENCE, async || {
        let response = http(token).get(format!("{url}/v1/policies")).send().await.unwrap();
        if response.status() == 200 { Ok(()) } else { Err(response) }
    })
    .await;
    let streams = Streams::open(url, &channel, token).await;

    let post = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n{more}\r\n"
        )
    };
    let blocking = |work: Box<dyn FnOnce() -> String + Send>| tokio::task::spawn_blocking(work);
    let without_token = post("/v1/tenants/acme/oauth2/revoke", "");
    let with_a_token = post("/v1/policies", &format!("authorization: Bearer {token}\r\n"));
    let headers = "GET /healthz HTTP/1.1\r\nx: ".to_owned();
    let [oauth, body, headers] =
        [without_token, with_a_token, headers].map(|head| blocking(Box::new(move || trickle(url, &head))));
    let call = endless_call(channel.clone(), "/keyplane.session.v1.SessionService/ListSessions", token);
    // HTTP/2 preface and empty SETTINGS, then no stream.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // The last takes longest: GOAWAY comes first.
    let once = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let silence =
        [&b""[..], &hello[..], &once[..]].map(|hello| tokio::task::spawn_blocking(move || silent(url, hello)));

    let status = call.await.unwrap_err();
    assert_eq!(status.message(), "the call did not arrive in time; nothing was done", "{status:?}");
    let (status, error) = parsed(&oauth.await.unwrap());
    assert_eq!((status, &error["error"]), (408, &json!("invalid_request")), "{error}");
    for answer in [body.await.unwrap(), headers.await.unwrap()] {
        let (status, error) = parsed(&answer);
        assert_eq!((status, reason(&error)), (408, TOO_SLOW), "{error}");
        assert_eq!(error["message"], "the request did not arrive in time; nothing was done");
    }
    for silence in silence {
        silence.await.unwrap();
    }
    // By now the streams are older than each limit.
    let alive = tokio::time::timeout(PATIENCE, streams.are_alive(url, token));
    alive.await.expect("each stream delivers events");
}

/// Last resort, independent of the other limits.
#[tokio::test]
async fn max_stream_duration_ends_any_exchange() {
    let gate = Gate::start_with("door-whole", |config| with(config, &[("max_stream_duration", "1s")]));
    let url = gate.url.clone();
    let head = "POST /v1/tenants/acme/oauth2/revoke HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n";
    let (status, error) = parsed(&tokio::task::spawn_blocking(move || trickle(&url, head)).await.unwrap());
    assert_eq!((status, &error["error"]), (408, &json!("invalid_request")), "{error}");
}

/// Table of limits in the documentation, held against the settings.
#[test]
fn documented_limits_match_the_configuration() {
    let document = include_str!("../../../../docs/operations.md");
    let table = document.split_once("<!-- limits:begin -->").expect("a table of limits").1;
    let table = table.split_once("<!-- limits:end -->").expect("its end").0;
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
    for row in &rows {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(CONFIG.contains(&format!("{}: {}", cells[1], cells[2])), "gateway.yaml has another value: {row}");
    }
    for name in [
        "request_headers_timeout",
        "request_timeout",
        "max_stream_duration",
        "stream_idle_timeout",
        "idle_timeout",
        "max_request_headers_kb",
        "max_headers_count",
        "max_request_bytes",
        "max_concurrent_streams",
        "max_active_downstream_connections",
    ] {
        assert!(rows.iter().any(|row| row.starts_with(&format!("| `{name}`"))), "{name} is not in the table");
    }
}

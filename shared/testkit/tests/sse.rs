//! Event client against a server that plays prepared answers.

use std::net::SocketAddr;
use std::time::Duration;

use keyplane_testkit::{Event, Fault, FaultProxy, Sse, SseError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n";

/// Answers each connection with the next of `answers` and closes it. Returns the address, and the requests as they
/// come.
async fn server(answers: Vec<String>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (send, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = send.send(read_request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (addr, requests)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        request.push(char::from(stream.read_u8().await.unwrap()));
    }
    request.to_ascii_lowercase()
}

fn stream(body: &str) -> String {
    format!("{STREAM}{body}")
}

fn event(id: &str, data: &str) -> Event {
    Event { id: id.to_owned(), event: "message".to_owned(), data: data.to_owned() }
}

#[tokio::test]
async fn resumes_after_the_last_whole_event() {
    let first = stream("retry: 20\n\nid: 1\ndata: a\n\nid: 2\ndata: cut short\n");
    let (addr, mut requests) = server(vec![first, stream("id: 2\ndata: b\n\n")]).await;
    let hour = Duration::from_secs(3600);
    let mut sse = Sse::new(format!("http://{addr}/v1/x:watch")).retry(hour).header("cookie", "keyplane_token=t");
    assert_eq!(sse.next().await, Ok(event("1", "a")));
    let resumed = tokio::time::timeout(Duration::from_secs(20), sse.next()).await;
    assert_eq!(resumed.expect("the server's retry replaces the hour"), Ok(event("2", "b")));
    assert_eq!(sse.connections(), 2);

    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("get /v1/x:watch "), "{request}");
    assert!(request.contains("accept: text/event-stream\r\n"), "{request}");
    assert!(request.contains("cookie: keyplane_token=t\r\n"), "{request}");
    assert!(!request.contains("last-event-id"), "{request}");
    let request = requests.recv().await.unwrap();
    assert!(request.contains("last-event-id: 1\r\n"), "{request}");
}

#[tokio::test]
async fn gives_up_on_another_status_and_stays_closed() {
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let (addr, _requests) = server(vec![stream("data: a\n\n"), no_content]).await;
    let mut sse = Sse::new(format!("http://{addr}/v1/x:watch")).retry(Duration::from_millis(1));
    assert_eq!(sse.next().await, Ok(event("", "a")));
    assert_eq!(sse.next().await, Err(SseError::Status(204)));
    assert_eq!(sse.next().await, Err(SseError::Status(204)));
}

#[tokio::test]
async fn gives_up_on_another_content_type() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_owned();
    let (addr, mut requests) = server(vec![json]).await;
    let mut sse = Sse::new(format!("http://{addr}/v1/x:watch")).after("41");
    assert_eq!(sse.next().await, Err(SseError::ContentType("application/json".to_owned())));
    assert!(requests.recv().await.unwrap().contains("last-event-id: 41\r\n"));
}

#[tokio::test]
async fn connects_again_until_the_server_is_there() {
    let proxy = FaultProxy::start(server(vec![stream("data: a\n\n")]).await.0);
    proxy.set(Fault::Cut);
    let mut sse = Sse::new(format!("http://{}/", proxy.addr())).retry(Duration::from_millis(20));
    // Several attempts are refused in that time, and none makes it give up.
    assert!(tokio::time::timeout(Duration::from_millis(100), sse.next()).await.is_err());
    proxy.set(Fault::Pass);
    assert_eq!(sse.next().await, Ok(event("", "a")));
    assert_eq!(sse.connections(), 1);
}

#[tokio::test]
async fn next_is_cancel_safe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sse = Sse::new(format!("http://{}/", listener.local_addr().unwrap()));
    let (mut peer, first) = tokio::join!(
        async {
            let (mut peer, _) = listener.accept().await.unwrap();
            read_request(&mut peer).await;
            peer.write_all(stream("data: first\n\n").as_bytes()).await.unwrap();
            peer
        },
        sse.next()
    );
    assert_eq!(first, Ok(event("", "first")));
    let (last, others) = b"id: 1\ndata: abc\n\n".split_last().unwrap();
    for byte in others {
        peer.write_all(&[*byte]).await.unwrap();
        let cancelled = tokio::time::timeout(Duration::from_millis(2), sse.next()).await;
        assert!(cancelled.is_err(), "{cancelled:?}");
    }
    peer.write_all(&[*last]).await.unwrap();
    assert_eq!(sse.next().await, Ok(event("1", "abc")));
    assert_eq!(sse.connections(), 1);
}

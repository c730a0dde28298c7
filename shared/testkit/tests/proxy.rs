//! Proxy before a server that echoes every byte.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use keyplane_testkit::{Fault, FaultProxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    addr
}

async fn proxied() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo_server().await);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut client, "hello").await, "hello");
    (proxy, client)
}

async fn ask(client: &mut TcpStream, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    answer(client, text.len()).await
}

async fn answer(client: &mut TcpStream, length: usize) -> String {
    let mut buffer = vec![0; length];
    timeout(PATIENCE, client.read_exact(&mut buffer)).await.expect("an answer").unwrap();
    String::from_utf8(buffer).unwrap()
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SILENCE, client.read_u8()).await.is_err()
}

async fn is_closed(client: &mut TcpStream) -> bool {
    timeout(PATIENCE, client.read_u8()).await.expect("the end of the connection").is_err()
}

#[tokio::test]
async fn passes_large_amounts_and_both_ends_of_stream() {
    let (proxy, mut client) = proxied().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let (mut from, mut to) = client.split();
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(from.read_to_end(&mut received), async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    read.unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    assert_eq!(proxy.connections(), 1);
    eventually("the connection ends", PATIENCE, async || match proxy.open_connections() {
        0 => Ok(()),
        count => Err(count),
    })
    .await;
}

#[tokio::test]
async fn delays_each_direction() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    let start = Instant::now();
    assert_eq!(ask(&mut client, "slow").await, "slow");
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    proxy.set(Fault::Pass);
    assert_eq!(ask(&mut client, "fast").await, "fast");
}

#[tokio::test]
async fn black_hole_delivers_late() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::BlackHole);
    client.write_all(b"one").await.unwrap();
    let mut other = TcpStream::connect(proxy.addr()).await.unwrap();
    other.write_all(b"two").await.unwrap();
    assert!(is_silent(&mut client).await && is_silent(&mut other).await);
    proxy.set(Fault::Pass);
    assert_eq!(answer(&mut client, 3).await, "one");
    assert_eq!(answer(&mut other, 3).await, "two");
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn cut_closes_and_refuses() {
    let (proxy, mut client) = proxied().await;
    for _ in 0..3 {
        proxy.set(Fault::Cut);
        assert_eq!(proxy.open_connections(), 0);
        assert!(is_closed(&mut client).await);
        let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Fault::Pass);
        client = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut client, "again").await, "again");
    }
}

#[tokio::test]
async fn half_open_connection_is_silent_and_then_dead() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::HalfOpen);
    let mut other = TcpStream::connect(proxy.addr()).await.unwrap();
    // More than the kernel would hold back: it is taken.
    let lots = vec![0; 20_000_000];
    for client in [&mut client, &mut other] {
        timeout(PATIENCE, client.write_all(&lots)).await.expect("the bytes are taken").unwrap();
        assert!(is_silent(client).await);
    }
    proxy.set(Fault::Pass);
    assert!(is_closed(&mut client).await && is_closed(&mut other).await);
    let mut fresh = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut fresh, "fresh").await, "fresh");
}

#[tokio::test]
async fn server_that_has_ended_closes_the_client() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(nowhere);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_closed(&mut client).await);
}

#[test]
fn puts_itself_into_urls_and_needs_no_runtime() {
    let proxy = FaultProxy::to_port(1);
    let addr = proxy.addr();
    for (url, expected) in [
        ("valkey://127.0.0.1:7001", format!("valkey://{addr}")),
        ("valkey://user:p%40ss@127.0.0.1:7001/0?x=y", format!("valkey://user:p%40ss@{addr}/0?x=y")),
        ("http://localhost:80/path@x", format!("http://{addr}/path@x")),
    ] {
        assert_eq!(proxy.url(url), expected);
    }
    proxy.set(Fault::Cut);
    assert!(std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn stands_before_a_real_valkey() {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    assert!(proxy.url(&valkey.url()).ends_with(&format!("@{}", proxy.addr())));
    let mut client = std::net::TcpStream::connect(proxy.addr()).unwrap();
    std::io::Write::write_all(&mut client, b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    std::io::Read::read_exact(&mut client, &mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}

#[tokio::test]
async fn new_connections_go_where_it_is_redirected_to() {
    let (proxy, mut client) = proxied().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.redirect(other.local_addr().unwrap());
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = timeout(PATIENCE, other.accept()).await.expect("a connection").unwrap();
    server.write_all(b"other").await.unwrap();
    assert_eq!(answer(&mut new, 5).await, "other");
    assert_eq!(ask(&mut client, "same").await, "same");
}

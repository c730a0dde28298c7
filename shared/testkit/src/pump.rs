//! Both directions of one proxied connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::fault::Fault;

/// Bytes in flight, due at a time. Empty bytes stand for the end of the stream.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Maximum of chunks in flight, so that a slow receiver slows the sender.
const IN_FLIGHT: usize = 256;

/// Serves one client until either side closes or the fault ends the connection.
pub(crate) async fn connection(client: TcpStream, upstream: SocketAddr, fault: watch::Receiver<Fault>) {
    let _ = client.set_nodelay(true);
    tokio::select! {
        biased;
        () = doom(fault.clone()) => {}
        () = forward(client, upstream, fault) => {}
    }
}

/// Waits until the connection must end: it is cut, or a fault that discarded bytes is over.
async fn doom(mut fault: watch::Receiver<Fault>) {
    let mut damaged = false;
    loop {
        match *fault.borrow_and_update() {
            Fault::Cut => return,
            Fault::HalfOpen => damaged = true,
            Fault::Pass | Fault::Delay(_) | Fault::DelayOpen(_) | Fault::BlackHole if damaged => return,
            Fault::Pass | Fault::Delay(_) | Fault::DelayOpen(_) | Fault::BlackHole => {}
        }
        if fault.changed().await.is_err() {
            return;
        }
    }
}

async fn forward(client: TcpStream, upstream: SocketAddr, mut fault: watch::Receiver<Fault>) {
    if *fault.borrow() == Fault::HalfOpen {
        // The peer is silent: take the bytes and discard them.
        let (mut from, _to) = client.into_split();
        return discard(&mut from).await;
    }
    passable(&mut fault).await;
    let new = matches!(*fault.borrow(), Fault::DelayOpen(_));
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        direction(from_client, to_server, fault.clone(), new),
        direction(from_server, to_client, fault.clone(), new),
    );
}

/// Pumps one direction. A connection that is `new` under [`Fault::DelayOpen`] has no latency.
async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, fault: watch::Receiver<Fault>, new: bool) {
    let (send, receive) = mpsc::channel(IN_FLIGHT);
    tokio::join!(read(from, send, fault.clone(), new), write(to, receive, fault));
}

async fn read(mut from: OwnedReadHalf, send: mpsc::Sender<Chunk>, mut fault: watch::Receiver<Fault>, new: bool) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = *fault.borrow_and_update();
        if now == Fault::HalfOpen {
            return discard(&mut from).await;
        }
        let count = tokio::select! {
            biased;
            changed = fault.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            count = from.read(&mut buffer), if now != Fault::BlackHole => count.unwrap_or(0),
        };
        let delay = match *fault.borrow() {
            Fault::Delay(delay) => delay,
            Fault::DelayOpen(delay) if !new => delay,
            Fault::Pass | Fault::DelayOpen(_) | Fault::BlackHole | Fault::Cut | Fault::HalfOpen => Duration::ZERO,
        };
        let chunk = Chunk { due: Instant::now() + delay, bytes: buffer[..count].to_vec() };
        if send.send(chunk).await.is_err() || count == 0 {
            return;
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut receive: mpsc::Receiver<Chunk>, mut fault: watch::Receiver<Fault>) {
    while let Some(chunk) = receive.recv().await {
        // A timer ends up to a millisecond late, even one that is due at once.
        if chunk.due > Instant::now() {
            tokio::time::sleep_until(chunk.due).await;
        }
        // While bytes are discarded this waits until `doom` ends the connection, with the same effect.
        passable(&mut fault).await;
        let written = match chunk.bytes.as_slice() {
            [] => to.shutdown().await,
            bytes => to.write_all(bytes).await,
        };
        if written.is_err() {
            return;
        }
    }
}

/// Reads and discards until `doom` closes the connection: an end of stream stays unanswered too.
async fn discard(from: &mut OwnedReadHalf) {
    let mut buffer = vec![0; 16 << 10];
    while from.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    std::future::pending().await
}

/// Waits until bytes may pass.
async fn passable(fault: &mut watch::Receiver<Fault>) {
    if fault.wait_for(|fault| matches!(fault, Fault::Pass | Fault::Delay(_) | Fault::DelayOpen(_))).await.is_err() {
        std::future::pending().await
    }
}

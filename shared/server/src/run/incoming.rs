//! Accepted connections, with a way to end those that would outlive the drain.
//!
//! hyper ends a connection gracefully only after the HTTP/2 handshake. A peer that never sends its preface, such as a port
//! scanner or a load balancer's spare connection, would hold the shutdown for ever. So the start of the drain closes
//! a connection that has not sent its preface, and the end of its time closes any other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use super::gather::Gather;

/// Length of the HTTP/2 client preface.
const PREFACE: usize = 24;

/// Connection that two tokens can end.
pub(crate) struct Connection {
    inner: TcpStream,
    gather: Gather,
    /// Bytes of the preface that are still to come.
    preface: usize,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    force: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Accepts the connections of `listener`, without Nagle's delay.
pub(crate) fn accept(
    listener: TcpListener,
    drain: CancellationToken,
    force: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    TcpIncoming::from(listener).with_nodelay(Some(true)).map(move |accepted| {
        accepted.map(|inner| Connection {
            inner,
            gather: Gather::new(),
            preface: PREFACE,
            // A child token each: waiting on the shared one would take one lock for all connections.
            drain: Box::pin(drain.child_token().cancelled_owned()),
            force: Box::pin(force.child_token().cancelled_owned()),
        })
    })
}

// === impl Connection ===

impl Connection {
    fn ended(&mut self, cx: &mut Context<'_>) -> bool {
        let silent = self.preface > 0 && self.drain.as_mut().poll(cx).is_ready();
        silent || self.force.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.gather.begin_turn();
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.preface = self.preface.saturating_sub(buf.filled().len() - before);
                Poll::Ready(result)
            }
            Poll::Pending if self.ended(cx) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.gather.poll_flush(&mut this.inner, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.gather.poll_send(&mut this.inner, cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.preface {
            // Before the client's preface there are no turns.
            0 => this.gather.poll_write(&mut this.inner, cx, bufs),
            _ => Pin::new(&mut this.inner).poll_write_vectored(cx, bufs),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::gather::{FLUSHES, GATHERED};
    use super::*;

    /// Connection that has sent its preface, and its client.
    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(&[b'p'; PREFACE]).await.unwrap();
        let mut incoming = Box::pin(accept(listener, CancellationToken::new(), CancellationToken::new()));
        let mut connection = incoming.next().await.unwrap().unwrap();
        connection.read_exact(&mut [0; PREFACE]).await.unwrap();
        (connection, client)
    }

    async fn turn(connection: &mut Connection) {
        let mut buffer = [0; 8];
        let read = |cx: &mut Context<'_>| {
            assert!(Pin::new(&mut *connection).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending());
            Poll::Ready(())
        };
        poll_fn(read).await;
    }

    fn arrived(client: &TcpStream) -> usize {
        match client.try_read(&mut [0; 64 * 1024]) {
            Ok(size) => size,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                0
            }
        }
    }

    async fn arrive(client: &mut TcpStream, size: usize) {
        let mut buffer = vec![0; size];
        let read = client.read_exact(&mut buffer);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("it is sent").unwrap();
    }

    /// Flushes as h2 does: after each message of 256 bytes or more.
    #[tokio::test]
    async fn flushes_of_one_turn_leave_together_in_the_next() {
        let (mut connection, mut client) = connected().await;
        for _ in 0..40 {
            connection.write_all(&[b'a'; 300]).await.unwrap();
            connection.flush().await.unwrap();
        }
        assert_eq!((connection.gather.len(), arrived(&client)), (40 * 300, 0));
        turn(&mut connection).await;
        connection.flush().await.unwrap();
        arrive(&mut client, 40 * 300).await;
    }

    #[tokio::test]
    async fn many_flushes_or_bytes_send_without_a_turn() {
        let (mut connection, mut client) = connected().await;
        connection.write_all(b"a").await.unwrap();
        for _ in 0..=FLUSHES {
            connection.flush().await.unwrap();
        }
        arrive(&mut client, 1).await;
        connection.write_all(&vec![b'b'; GATHERED]).await.unwrap();
        connection.write_all(b"c").await.unwrap();
        arrive(&mut client, GATHERED).await;
        assert_eq!(connection.gather.len(), 1, "bytes past the most that wait are sent");
    }
}

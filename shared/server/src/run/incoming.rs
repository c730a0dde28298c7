//! Accepted connections, with a way to end those that would outlive the drain.
//!
//! hyper ends a connection gracefully only after the HTTP/2 handshake: a peer that never sends its preface, such as a
//! port scanner or a load balancer's spare connection, would hold the shutdown for ever. So a connection that hasn't
//! said 24 bytes is closed when the drain starts, and any other when its time is up.
//!
//! What is written after the handshake waits until the tasks that are ready have run: the runtime runs the task of a
//! connection as soon as one answer is there, though several often come together (a reply of the store answers many calls),
//! and each would leave with a system call of its own, which costs as much as all the rest of an answer.
//!
//! A flush says that it is done, and has the task run again behind those that are ready. h2 begins each of its turns by reading
//! and flushes at its end, and after each message of 256 bytes or more, so that the next turn sends: the read tells one turn
//! from the next. Should flushes come without end and no read between them, some hundredth sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// Length of the HTTP/2 client preface.
const PREFACE: usize = 24;
/// Bytes that are gathered at most; what is larger at once is written at once.
const GATHERED: usize = 32 * 1024;
/// Flushes that are put off at most, far more than h2 has reason for in one turn of so many bytes.
const FLUSHES: u8 = 128;

/// A connection that two tokens can end.
pub(crate) struct Connection {
    inner: TcpStream,
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// What was written and is to be sent.
    gathered: BytesMut,
    flush: Flush,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    force: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// When what was gathered is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// Nobody has asked for it.
    Idle,
    /// When this task has its next turn. It was asked for so often in this one.
    NextTurn(u8),
    /// Now.
    Due,
}

/// The connections that `listener` accepts, without Nagle's delay.
pub(crate) fn accept(
    listener: TcpListener,
    drain: CancellationToken,
    force: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    TcpIncoming::from(listener).with_nodelay(Some(true)).map(move |accepted| {
        accepted.map(|inner| Connection {
            inner,
            preface: PREFACE,
            gathered: BytesMut::new(),
            flush: Flush::Idle,
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

    fn put_off(&mut self, asked: u8, cx: &Context<'_>) {
        self.flush = Flush::NextTurn(asked);
        // Behind the tasks that are ready now.
        cx.waker().wake_by_ref();
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.gathered.advance(sent),
            }
        }
        self.flush = Flush::Idle;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(self.flush, Flush::NextTurn(_)) {
            self.flush = Flush::Due;
        }
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
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flush {
            Flush::Idle if self.gathered.is_empty() => {}
            Flush::Idle => self.put_off(1, cx),
            Flush::NextTurn(asked @ ..FLUSHES) => self.put_off(asked + 1, cx),
            Flush::NextTurn(_) | Flush::Due => return self.poll_send(cx),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Before the client has spoken there are no turns to tell apart.
        if self.preface > 0 {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.gathered.len() + size > GATHERED {
            ready!(self.poll_send(cx))?;
        }
        if size > GATHERED {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        bufs.iter().for_each(|buf| self.gathered.extend_from_slice(buf));
        Poll::Ready(Ok(size))
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

    use super::*;

    /// A connection that has said its preface, and its client.
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

    /// As h2 has it: it flushes after each message of 256 bytes or more.
    #[tokio::test]
    async fn what_is_flushed_in_one_turn_leaves_together_in_the_next() {
        let (mut connection, mut client) = connected().await;
        for _ in 0..40 {
            connection.write_all(&[b'a'; 300]).await.unwrap();
            connection.flush().await.unwrap();
        }
        assert_eq!((connection.gathered.len(), arrived(&client)), (40 * 300, 0));
        turn(&mut connection).await;
        connection.flush().await.unwrap();
        arrive(&mut client, 40 * 300).await;
    }

    #[tokio::test]
    async fn without_a_turn_it_is_sent_all_the_same() {
        let (mut connection, mut client) = connected().await;
        connection.write_all(b"a").await.unwrap();
        for _ in 0..=FLUSHES {
            connection.flush().await.unwrap();
        }
        arrive(&mut client, 1).await;
        connection.write_all(&vec![b'b'; GATHERED]).await.unwrap();
        connection.write_all(b"c").await.unwrap();
        arrive(&mut client, GATHERED).await;
        assert_eq!(connection.gathered.len(), 1, "more than is gathered is not waited for");
    }
}

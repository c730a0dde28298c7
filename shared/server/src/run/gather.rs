//! Write gathering: what a connection writes in one turn leaves with one system call.
//!
//! The runtime runs a connection's task as soon as one answer is there, though several often come together: one reply of
//! the store answers many calls. Each answer would leave with a system call of its own, as expensive as all the rest of
//! an answer. So writes wait until the tasks that are ready have run: a flush reports success, and wakes the task behind
//! them. Its next turn sends.
//!
//! This relies on three habits of h2 (0.4). A change there costs speed, not correctness:
//!
//! 1. `poll_read` begins each turn of a connection's task. The read tells one turn from the next.
//! 2. `poll_flush` ends each turn, and follows each message of 256 bytes or more. It may report success early, since h2
//!    awaits no flush before it writes on; `poll_shutdown` sends the rest.
//! 3. A turn holds a bounded number of flushes. Flushes without end, and no read between them, send at every
//!    [`FLUSHES`]th.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that wait; a larger write leaves at once.
const GATHERED: usize = 32 * 1024;
/// Most flushes that wait: far more than h2 makes in one turn of [`GATHERED`] bytes.
const FLUSHES: u8 = 128;

/// Stream that gathers its writes once [`Gather::begin`] is called.
pub(super) struct Gather<S> {
    inner: S,
    begun: bool,
    /// Written bytes that wait.
    waiting: BytesMut,
    flush: Flush,
}

/// Time at which the waiting bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// Unknown: no flush has come.
    Idle,
    /// The task's next turn; with the number of flushes in this one.
    NextTurn(u8),
    /// The next flush.
    Due,
}

// === impl Gather ===

impl<S> Gather<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, begun: false, waiting: BytesMut::new(), flush: Flush::Idle }
    }

    /// Starts to gather. Before the client has spoken there are no turns to tell apart.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    pub(super) fn inner(&self) -> &S {
        &self.inner
    }

    fn put_off(&mut self, flushes: u8, cx: &Context<'_>) {
        self.flush = Flush::NextTurn(flushes);
        // Behind the tasks that are ready now.
        cx.waker().wake_by_ref();
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.waiting.advance(sent),
            }
        }
        self.flush = Flush::Idle;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(self.flush, Flush::NextTurn(_)) {
            self.flush = Flush::Due;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flush {
            Flush::Idle if self.waiting.is_empty() => {}
            Flush::Idle => self.put_off(1, cx),
            Flush::NextTurn(flushes @ ..FLUSHES) => self.put_off(flushes + 1, cx),
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
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.begun {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.waiting.len() + size > GATHERED {
            ready!(self.poll_send(cx))?;
        }
        if size > GATHERED {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        bufs.iter().for_each(|buf| self.waiting.extend_from_slice(buf));
        Poll::Ready(Ok(size))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A stream that gathers, and its client.
    async fn connected() -> (Gather<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut gather = Gather::new(listener.accept().await.unwrap().0);
        gather.begin();
        (gather, client)
    }

    async fn turn(gather: &mut Gather<TcpStream>) {
        let mut buffer = [0; 8];
        let read = |cx: &mut Context<'_>| {
            assert!(Pin::new(&mut *gather).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending());
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
    async fn flushes_of_one_turn_leave_together_in_the_next() {
        let (mut gather, mut client) = connected().await;
        for _ in 0..40 {
            gather.write_all(&[b'a'; 300]).await.unwrap();
            gather.flush().await.unwrap();
        }
        assert_eq!((gather.waiting.len(), arrived(&client)), (40 * 300, 0));
        turn(&mut gather).await;
        gather.flush().await.unwrap();
        arrive(&mut client, 40 * 300).await;
    }

    #[tokio::test]
    async fn many_flushes_or_bytes_send_without_a_turn() {
        let (mut gather, mut client) = connected().await;
        gather.write_all(b"a").await.unwrap();
        for _ in 0..=FLUSHES {
            gather.flush().await.unwrap();
        }
        arrive(&mut client, 1).await;
        gather.write_all(&vec![b'b'; GATHERED]).await.unwrap();
        gather.write_all(b"c").await.unwrap();
        arrive(&mut client, GATHERED).await;
        assert_eq!(gather.waiting.len(), 1, "bytes past the most that wait are sent");
    }
}

//! Write gathering: what a connection writes in one turn leaves with one system call.
//!
//! Answers often come together, since one reply of the store answers many calls. But the runtime runs a connection's task
//! as soon as one answer is there. Each would leave with a system call of its own, as expensive as all the rest of an
//! answer. So writes wait until the tasks that are ready have run: a flush reports success, and wakes the task behind them.
//! Its next turn sends.
//!
//! Gathering relies on three habits of h2 (0.4). A change there costs speed, not correctness:
//!
//! 1. `poll_read` begins each turn of a connection's task. The read separates one turn from the next.
//! 2. `poll_flush` ends each turn, and follows each message of 256 bytes or more. It may report success early, since h2
//!    awaits no flush before it writes on; `poll_shutdown` sends the rest.
//! 3. A turn holds a bounded number of flushes. Flushes without end, and no read between them, send at every
//!    [`FLUSHES`]th.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Most bytes that wait; a larger write leaves at once.
pub(super) const GATHERED: usize = 32 * 1024;
/// Most flushes that wait: far more than h2 makes in one turn of [`GATHERED`] bytes.
pub(super) const FLUSHES: u8 = 128;

/// Written bytes that wait, and the time at which they are sent.
pub(super) struct Gather {
    waiting: BytesMut,
    flush: Flush,
}

/// Time at which the waiting bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// Unknown: no flush has come.
    Idle,
    /// Next turn of the task; with the number of flushes in this one.
    NextTurn(u8),
    /// Next flush.
    Due,
}

// === impl Gather ===

impl Gather {
    pub(super) fn new() -> Self {
        Self { waiting: BytesMut::new(), flush: Flush::Idle }
    }

    /// Number of bytes that wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Notes that the task reads: a turn begins.
    pub(super) fn begin_turn(&mut self) {
        if matches!(self.flush, Flush::NextTurn(_)) {
            self.flush = Flush::Due;
        }
    }

    pub(super) fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.waiting.len() + size > GATHERED {
            ready!(self.poll_send(stream, cx))?;
        }
        if size > GATHERED {
            return Pin::new(stream).poll_write_vectored(cx, bufs);
        }
        bufs.iter().for_each(|buf| self.waiting.extend_from_slice(buf));
        Poll::Ready(Ok(size))
    }

    pub(super) fn poll_flush(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushes = match self.flush {
            Flush::Idle if self.waiting.is_empty() => return Poll::Ready(Ok(())),
            Flush::Idle => 1,
            Flush::NextTurn(flushes @ ..FLUSHES) => flushes + 1,
            Flush::NextTurn(_) | Flush::Due => return self.poll_send(stream, cx),
        };
        self.flush = Flush::NextTurn(flushes);
        // Behind the tasks that are ready now.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Sends the waiting bytes.
    pub(super) fn poll_send(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.waiting.advance(sent),
            }
        }
        self.flush = Flush::Idle;
        Poll::Ready(Ok(()))
    }
}

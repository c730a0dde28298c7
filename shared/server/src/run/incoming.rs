//! Accepted connections, with a way to end those that would outlive the drain.
//!
//! hyper ends a connection gracefully only after the HTTP/2 handshake: a peer that never sends its preface, such as a
//! port scanner or a load balancer's spare connection, would hold the shutdown for ever. So a connection that hasn't
//! said 24 bytes is closed when the drain starts, and any other when its time is up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// Length of the HTTP/2 client preface.
const PREFACE: usize = 24;

/// A connection that two tokens can end.
pub(crate) struct Connection {
    inner: TcpStream,
    /// Bytes of the preface that are still to come.
    preface: usize,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    force: Pin<Box<WaitForCancellationFutureOwned>>,
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

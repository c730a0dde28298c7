//! Accepted connections, with a way to end those that would outlive the drain.
//!
//! hyper ends a connection gracefully only after the HTTP/2 handshake: a peer that never sends its preface, such as a
//! port scanner or a load balancer's spare connection, would hold the shutdown for ever. So the start of the drain closes
//! a connection that has not sent its preface, and the end of its time closes any other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

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
    inner: Gather<TcpStream>,
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
            inner: Gather::new(inner),
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

    fn inner(self: Pin<&mut Self>) -> Pin<&mut Gather<TcpStream>> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.as_mut().inner().poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.preface = self.preface.saturating_sub(buf.filled().len() - before);
                if self.preface == 0 {
                    self.inner.begin();
                }
                Poll::Ready(result)
            }
            Poll::Pending if self.ended(cx) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bufs)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.inner().connect_info()
    }
}

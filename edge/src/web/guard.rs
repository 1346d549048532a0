//! Connections that cannot be held for ever.
//!
//! The page is meant for a few people at home. [`Guarding`] accepts no more than [`CONNECTIONS`] at
//! a time, and [`Guarded`] ends a connection whose peer takes no bytes for [`WRITE_STALL`] or that
//! moves nothing in either direction for [`IDLE`]. A reader of the event stream that falls asleep
//! is thereby dropped; one that is merely slow gets fewer, newer snapshots.

use axum::serve::Listener;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// Connections at a time; more wait in the listener's backlog.
pub(super) const CONNECTIONS: usize = 64;
/// How long a peer may refuse to take bytes.
pub(super) const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long a connection may move nothing at all. Longer than the event stream's keep-alive.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// A listener that limits its connections.
pub(super) struct Guarding {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Guarding {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

impl Listener for Guarding {
    type Io = Guarded<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a permit the connection would merely be uncounted.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Small events should leave at once. A failure costs only latency.
        let _ = stream.set_nodelay(true);
        (Guarded::new(stream, WRITE_STALL, IDLE, permit), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Listener::local_addr(&self.listener)
    }
}

/// A stream with limits on standing still.
pub(super) struct Guarded<T> {
    inner: T,
    write_stall: Duration,
    idle: Duration,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs always, put off by every byte that moves.
    quiet: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Guarded<T> {
    fn new(
        inner: T,
        write_stall: Duration,
        idle: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let quiet = Box::pin(sleep(idle));
        Self {
            inner,
            write_stall,
            idle,
            stalled: None,
            quiet,
            _permit: permit,
        }
    }

    fn moved(&mut self) {
        self.stalled = None;
        let idle = self.idle;
        self.quiet.set(sleep(idle));
    }

    /// What a write that returned `poll` means.
    fn written<R>(
        &mut self,
        poll: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.moved();
            return poll;
        }
        let limit = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the peer takes no bytes"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if poll.is_ready() {
            self.moved();
            return poll;
        }
        match self.quiet.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the connection is idle"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.written(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_dropped() {
        let (near, _far) = duplex(8);
        let mut near = Guarded::new(near, SHORT, LONG, None);
        let error = near.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_silent_peer_is_dropped() {
        let (near, _far) = duplex(8);
        let mut near = Guarded::new(near, LONG, SHORT, None);
        let error = near.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_peer_that_reads_is_kept() {
        let (near, mut far) = duplex(8);
        let mut near = Guarded::new(near, LONG, LONG, None);
        let reader = tokio::spawn(async move {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).await.unwrap();
            bytes.len()
        });
        near.write_all(&[7; 64]).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap(), 64);
    }
}

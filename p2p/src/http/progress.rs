//! An exchange that stands still is ended: a body that yields nothing, and a stream that takes nothing.
//!
//! Reading is watched at the body and not at the stream, because between a request and its answer the stream is rightly
//! silent for as long as the handler works.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::BoxError;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::limits::PROGRESS_TIMEOUT;

/// A body that fails when somebody waits longer than [`PROGRESS_TIMEOUT`] for its next piece. A reader that is busy with the
/// last piece does not count as a body that stands still.
pub(crate) struct WatchedBody<B> {
    inner: B,
    /// Runs only while a reader waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> WatchedBody<B> {
    /// Watches `inner`.
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, deadline: None }
    }
}

impl<B: Body + Unpin> Body for WatchedBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.deadline = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(PROGRESS_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(stalled().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that fails when a write waits longer than [`PROGRESS_TIMEOUT`] for the other side to read.
pub(crate) struct WatchedWrites<T> {
    inner: T,
    /// Runs only while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> WatchedWrites<T> {
    /// Watches `inner`.
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, deadline: None }
    }

    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(PROGRESS_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(stalled()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedWrites<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedWrites<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, closed)
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no progress for 30 s")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use axum::body::Body as AxumBody;
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_fails_and_a_reader_that_does_is_waited_for() {
        let pieces = stream::iter(["one", "two"].map(|piece| Ok::<_, io::Error>(Bytes::from(piece))));
        let mut body = WatchedBody::new(AxumBody::from_stream(pieces.chain(stream::pending())));
        for piece in ["one", "two"] {
            // The reader writes to a slow card.
            sleep(PROGRESS_TIMEOUT * 3).await;
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        let started = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert!(started.elapsed() >= PROGRESS_TIMEOUT && started.elapsed() < PROGRESS_TIMEOUT + Duration::from_secs(1));
    }
}

//! When a client's connection was last of use, and until when it may go on being of none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::lifecycle::Shutdown;

use super::config::Timeouts;

/// `head` of a connection on which no request is being received.
const NO_HEAD: u64 = u64::MAX;

/// What one connection does. Kept outside the HTTP machinery because one slow timer per connection
/// is cheaper than one per request.
pub(super) struct Activity {
    epoch: Instant,
    /// Milliseconds since `epoch` of the last byte in either direction.
    touched: AtomicU64,
    /// Milliseconds since `epoch` of the first byte of the request that is being received.
    head: AtomicU64,
    /// Requests or streams being served.
    serving: AtomicU32,
}

impl Activity {
    /// A connection just accepted: a request's head is expected.
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity {
            epoch: Instant::now(),
            touched: AtomicU64::new(0),
            head: AtomicU64::new(0),
            serving: AtomicU32::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&self) {
        let now = self.now();
        self.touched.store(now, Ordering::Relaxed);
        if self.serving.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == NO_HEAD
        {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    fn written(&self) {
        self.touched.store(self.now(), Ordering::Relaxed);
    }

    /// A request has been received, or a stream begins: it is served until the guard goes.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.head.store(NO_HEAD, Ordering::Relaxed);
        Serving(self.clone())
    }

    /// Returns once the connection has outlived its use.
    pub(super) async fn expired(&self, timeouts: &Timeouts) {
        loop {
            let now = Duration::from_millis(self.now());
            let left = self.deadline(timeouts).saturating_sub(now);
            if left.is_zero() {
                return;
            }
            // Not longer than what may begin while this sleeps.
            sleep(left.min(timeouts.head).min(timeouts.keep_alive)).await;
        }
    }

    /// Returns once no byte has come or gone for this long.
    pub(super) async fn quiet(&self, most: Duration) {
        loop {
            let touched = Duration::from_millis(self.touched.load(Ordering::Relaxed));
            let left = (touched + most).saturating_sub(Duration::from_millis(self.now()));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Time since `epoch` at which it expires unless something happens before.
    fn deadline(&self, timeouts: &Timeouts) -> Duration {
        let touched = Duration::from_millis(self.touched.load(Ordering::Relaxed));
        if self.serving.load(Ordering::Relaxed) > 0 {
            return touched + timeouts.idle;
        }
        match self.head.load(Ordering::Relaxed) {
            NO_HEAD => touched + timeouts.keep_alive,
            begun => Duration::from_millis(begun) + timeouts.head,
        }
    }
}

/// Returns when what was under way at the beginning of the shutdown has had its time.
pub(super) async fn drained(shutdown: &Shutdown, drain: Duration) {
    shutdown.begun().await;
    sleep(drain).await;
}

/// Something is being served on the connection.
pub(super) struct Serving(Arc<Activity>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.touched.store(self.0.now(), Ordering::Relaxed);
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells an `Activity` of every byte.
pub(super) struct Watched<T> {
    stream: T,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    pub(super) fn new(stream: T, activity: Arc<Activity>) -> Watched<T> {
        Watched { stream, activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.activity.written();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        this.activity.written();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

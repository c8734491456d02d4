//! What a connection is at, told by its bytes and its requests, and when that has taken too long.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::net::Connection;

use super::authority::Reader;
use super::gather::Gather;

/// How long a connection may be at what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request's head to its last; also from the connection's beginning.
    pub(super) head: Duration,
    /// Without a request, before the next one begins.
    pub(super) idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is overdue; look again then.
    Wait(Instant),
    /// Nobody uses it: it may be closed in peace.
    Idle,
    /// A head that was begun has not ended.
    HalfSent,
}

#[derive(Debug)]
struct State {
    requests: usize,
    /// A head has begun to come.
    head_since: Option<Instant>,
    quiet_since: Instant,
    /// HTTP/2: bytes between requests are frames of the protocol, not heads.
    multiplexed: bool,
}

/// Shared by a connection's stream, its requests and its task.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Mutex<State>>);

impl Pulse {
    pub(super) fn new(now: Instant) -> Pulse {
        Pulse(Arc::new(Mutex::new(State {
            requests: 0,
            head_since: Some(now),
            quiet_since: now,
            multiplexed: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have come.
    fn arrived(&self, now: Instant) {
        let mut state = self.state();
        if !state.multiplexed && state.requests == 0 && state.head_since.is_none() {
            state.head_since = Some(now);
        }
    }

    /// It is HTTP/2 that is spoken.
    pub(super) fn multiplex(&self) {
        let mut state = self.state();
        state.multiplexed = true;
        state.head_since = None;
    }

    /// A head is complete; the request lasts as long as what is returned.
    pub(super) fn request(&self) -> Turn {
        let mut state = self.state();
        state.requests += 1;
        state.head_since = None;
        Turn(self.clone())
    }

    pub(super) fn judge(&self, now: Instant, patience: Patience) -> Verdict {
        let state = self.state();
        if state.requests > 0 {
            return Verdict::Wait(now + patience.idle.min(patience.head));
        }
        if let Some(since) = state.head_since {
            let end = since + patience.head;
            return if now < end { Verdict::Wait(end) } else { Verdict::HalfSent };
        }
        // A head may begin at any time, and nothing wakes the task when it does: so that one is
        // cut off within twice its time, the wait is never longer than that.
        let end = state.quiet_since + patience.idle;
        if now < end { Verdict::Wait(end.min(now + patience.head)) } else { Verdict::Idle }
    }
}

/// A request under way, until its answer is sent or given up.
#[derive(Debug)]
pub(super) struct Turn(Pulse);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        state.quiet_since = Instant::now();
    }
}

/// A stream whose arriving bytes are noted, and amended where hyper would refuse them; what is
/// written leaves when it is flushed.
pub(super) struct Watched {
    stream: Connection,
    reader: Reader,
    gather: Gather,
    pulse: Pulse,
}

impl Watched {
    pub(super) fn new(stream: Connection, pulse: Pulse) -> Watched {
        Watched { stream, reader: Reader::new(), gather: Gather::default(), pulse }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Watched { stream, reader, pulse, .. } = self.get_mut();
        let before = buf.filled().len();
        let polled = reader.poll_read(stream, cx, buf);
        if buf.filled().len() > before {
            pulse.arrived(Instant::now());
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Watched { stream, gather, .. } = self.get_mut();
        gather.poll_write(stream, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Watched { stream, gather, .. } = self.get_mut();
        ready!(gather.poll_out(stream, cx))?;
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Watched { stream, gather, .. } = self.get_mut();
        ready!(gather.poll_out(stream, cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }

    /// Where pieces may come together, h2 flushes in front of the end of an answer whose message
    /// has 256 bytes or more; where they may not, it copies up to 1 KiB and goes on.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

/// An answer's body; its request lasts until it is gone.
pub(super) struct Lasting<B> {
    pub(super) body: B,
    pub(super) _turn: Turn,
}

impl<B: Body + Unpin> Body for Lasting<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(10), idle: Duration::from_secs(60) };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_and_silence_a_longer_one() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        assert_eq!(pulse.judge(after(start, 10), PATIENCE), Verdict::HalfSent, "nothing came");
        let turn = pulse.request();
        let long = after(start, 1000);
        assert!(matches!(pulse.judge(long, PATIENCE), Verdict::Wait(_)), "a request may last");
        drop(turn);
        assert!(matches!(pulse.judge(after(start, 59), PATIENCE), Verdict::Wait(_)));
        assert_eq!(pulse.judge(after(start, 60), PATIENCE), Verdict::Idle);
        pulse.arrived(after(start, 30));
        pulse.arrived(after(start, 39));
        let late = after(start, 40);
        assert_eq!(pulse.judge(late, PATIENCE), Verdict::HalfSent, "by its first byte");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_requests_are_no_half_sent_heads() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        pulse.arrived(start);
        pulse.multiplex();
        pulse.arrived(after(start, 20));
        assert!(matches!(pulse.judge(after(start, 59), PATIENCE), Verdict::Wait(_)));
        assert_eq!(pulse.judge(after(start, 60), PATIENCE), Verdict::Idle);
        let pulse = Pulse::new(start);
        pulse.arrived(start);
        assert_eq!(pulse.judge(after(start, 10), PATIENCE), Verdict::HalfSent);
    }
}

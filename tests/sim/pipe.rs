//! One way of a connection: bytes that arrive in order, when the network lets them.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::clock::{Now, now};
use super::net::Roads;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The writer has ended; what is on its way arrives still.
    Ended,
    /// Torn down: neither side can use it.
    Reset,
    /// The writer's or the reader's machine is gone, and nobody tells.
    Lost,
}

struct Inner {
    /// When it arrives, and what.
    queue: VecDeque<(Now, Vec<u8>)>,
    state: State,
    reader: Option<Waker>,
    reader_gone: bool,
}

/// Shared by both ends.
#[derive(Clone)]
pub struct Pipe {
    inner: Arc<Mutex<Inner>>,
    roads: Roads,
    pub from: usize,
    pub to: usize,
}

impl Pipe {
    pub fn new(roads: &Roads, from: usize, to: usize) -> Pipe {
        let inner =
            Inner { queue: VecDeque::new(), state: State::Open, reader: None, reader_gone: false };
        Pipe { inner: Arc::new(Mutex::new(inner)), roads: roads.clone(), from, to }
    }

    pub fn is_alive(&self) -> bool {
        let inner = self.inner.lock().unwrap();
        inner.state != State::Reset && !inner.reader_gone
    }

    fn set(&self, state: State) {
        let mut inner = self.inner.lock().unwrap();
        if inner.state == State::Reset || (inner.state == State::Lost && state != State::Reset) {
            return;
        }
        inner.state = state;
        if state == State::Reset {
            inner.queue.clear();
        }
        if let Some(waker) = inner.reader.take() {
            waker.wake();
        }
    }

    pub fn reset(&self) {
        self.set(State::Reset);
    }

    pub fn lose(&self) {
        self.set(State::Lost);
    }

    /// The road is open again: what was held up on it comes now.
    pub fn look_again(&self) {
        if let Some(waker) = self.inner.lock().unwrap().reader.take() {
            waker.wake();
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        match inner.state {
            State::Open if inner.reader_gone => return Err(io::ErrorKind::BrokenPipe.into()),
            State::Open => {}
            State::Lost => return Ok(()),
            State::Ended | State::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        }
        let arrives = now() + self.roads.delay(self.from, self.to);
        let arrives = inner.queue.back().map_or(arrives, |(last, _)| arrives.max(*last));
        inner.queue.push_back((arrives, bytes.to_vec()));
        if let Some(waker) = inner.reader.take() {
            waker.wake();
        }
        Ok(())
    }
}

/// One end of a connection.
pub struct End {
    incoming: Pipe,
    outgoing: Pipe,
    timer: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub fn new(incoming: Pipe, outgoing: Pipe) -> End {
        End { incoming, outgoing, timer: None }
    }

    fn wait_for(&mut self, at: Now, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = Box::pin(sleep(at.saturating_sub(now())));
        let polled = timer.as_mut().poll(context);
        self.timer = Some(timer);
        polled
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let due = {
                let mut inner = self.incoming.inner.lock().unwrap();
                let open = self.incoming.roads.is_open(self.incoming.from, self.incoming.to);
                let state = inner.state;
                match (inner.queue.front_mut(), state) {
                    (_, State::Reset) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    (Some((at, bytes)), _) if open && *at <= now() => {
                        let taken = bytes.len().min(buffer.remaining());
                        buffer.put_slice(&bytes[..taken]);
                        bytes.drain(..taken);
                        if bytes.is_empty() {
                            inner.queue.pop_front();
                        }
                        return Poll::Ready(Ok(()));
                    }
                    (None, State::Ended) if open => return Poll::Ready(Ok(())),
                    (Some((at, _)), _) if open => *at,
                    _ => {
                        inner.reader = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            if self.wait_for(due, context).is_pending() {
                let mut inner = self.incoming.inner.lock().unwrap();
                inner.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.outgoing.write(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.set(State::Ended);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.set(State::Ended);
        self.incoming.inner.lock().unwrap().reader_gone = true;
    }
}

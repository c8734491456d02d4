//! One HTTP/1.1 connection to an instance, driven by whoever uses it rather than by a task of its
//! own: a request and its response cost no change of task.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::model::limits;

use super::retry::Stage;

/// A request's body: none, or the client's as it comes.
pub(super) enum Upload {
    Empty,
    Client(Incoming),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Upload::Empty => Poll::Ready(None),
            Upload::Client(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Upload::Empty => true,
            Upload::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Upload::Empty => SizeHint::with_exact(0),
            Upload::Client(body) => body.size_hint(),
        }
    }
}

pub(super) struct Lane {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<Heard>, Upload>,
    /// `connection` must not be driven any further.
    ended: bool,
    /// A byte has come since the last request was sent.
    heard: Arc<AtomicBool>,
    /// It has served a request before.
    pub reused: bool,
}

/// Why no response came of a request.
pub(super) struct Broken {
    pub stage: Stage,
    pub reason: String,
    /// The request, where not a byte of it was written.
    pub unsent: Option<Request<Upload>>,
}

impl Lane {
    /// A lane over a new connection; the handshake of HTTP/1.1 is none.
    pub(super) async fn open(stream: TcpStream) -> Result<Lane, hyper::Error> {
        let heard = Arc::new(AtomicBool::new(false));
        let io = TokioIo::new(Heard { stream, heard: heard.clone() });
        let opened = http1::Builder::new().max_buf_size(limits::HTTP_HEADERS).handshake(io).await;
        let (sender, connection) = opened?;
        Ok(Lane { sender, connection, ended: false, heard, reused: false })
    }

    /// Moves the connection on. Ready: it has ended, well or badly.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended {
            let end = ready!(Pin::new(&mut self.connection).poll(cx));
            self.ended = true;
            if let Err(error) = end {
                tracing::trace!(%error, "a connection to an instance has ended");
            }
        }
        Poll::Ready(())
    }

    /// The socket of a lane that ended with a change of protocol, and what was read beyond.
    pub(super) fn into_stream(self) -> (TcpStream, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner().stream, parts.read_buf)
    }

    /// Whether another request may be sent.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx).is_pending() && self.sender.is_ready()
    }

    /// Sends a request and waits for the response's head, until `given_up` is; the body comes while
    /// the lane is driven.
    pub(super) async fn send(
        mut self,
        request: Request<Upload>,
        given_up: impl Future<Output = ()>,
    ) -> Result<(Response<Incoming>, Lane), Broken> {
        self.heard.store(false, Ordering::Relaxed);
        let mut answer = pin!(self.sender.try_send_request(request));
        let exchange = poll_fn(|cx| {
            // The answer says what an end of the connection means for this request.
            let _ = self.drive(cx);
            answer.as_mut().poll(cx)
        });
        let answered = tokio::select! {
            biased;
            answered = exchange => Some(answered),
            () = given_up => None,
        };
        match answered {
            Some(Ok(response)) => Ok((response, self)),
            Some(Err(mut refused)) => {
                let unsent = refused.take_message();
                let heard = self.heard.load(Ordering::Relaxed);
                let stage = if unsent.is_some() { Stage::Unsent } else { Stage::Sent { heard } };
                Err(Broken { stage, reason: explain(refused.error()), unsent })
            }
            None => Err(Broken { stage: Stage::Slow, reason: String::new(), unsent: None }),
        }
    }
}

/// The error with its cause, which says what the socket said.
fn explain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A stream that remembers whether anything came.
pub(super) struct Heard {
    stream: TcpStream,
    heard: Arc<AtomicBool>,
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
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

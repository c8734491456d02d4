//! Reads a connection's bytes as they are to be understood.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::frames::Frames;

#[derive(Debug)]
pub(in crate::net::http) struct Reader {
    frames: Frames,
    /// What came and has not gone on: the beginning of a frame, as a rule of none.
    kept: BytesMut,
    /// So much of it may go on.
    free: usize,
}

impl Reader {
    pub(in crate::net::http) fn new() -> Reader {
        Reader { frames: Frames::new(), kept: BytesMut::new(), free: 0 }
    }

    pub(in crate::net::http) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.free == 0 {
            if self.kept.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
                let come = buf.filled_mut().get_mut(before..).unwrap_or_default();
                let gone = self.frames.pass(come);
                if gone == come.len() {
                    return Poll::Ready(Ok(()));
                }
                self.kept.extend_from_slice(come.get(gone..).unwrap_or_default());
                buf.set_filled(before + gone);
                if gone > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let come = ready!(poll_read_buf(Pin::new(&mut *stream), cx, &mut self.kept))?;
                // At the end what was begun goes on as it is.
                self.free =
                    if come == 0 { self.kept.len() } else { self.frames.pass(&mut self.kept) };
            }
        }
        let len = self.free.min(buf.remaining());
        buf.put_slice(self.kept.get(..len).unwrap_or_default());
        self.kept.advance(len);
        self.free -= len;
        if self.kept.is_empty() {
            self.kept = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

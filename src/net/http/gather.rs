//! Holds what is written in small pieces until it is flushed: the head of a frame and what is in it
//! leave in one call to the kernel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;

/// Bytes that are held at most; more goes on at once.
const MOST: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Gather {
    held: BytesMut,
}

impl Gather {
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() + piece.len() > MOST {
            ready!(self.poll_out(stream, cx))?;
            if piece.len() > MOST {
                return Pin::new(stream).poll_write(cx, piece);
            }
        }
        self.held.extend_from_slice(piece);
        Poll::Ready(Ok(piece.len()))
    }

    /// Has everything that is held go on. Whoever flushes or ends the stream does this before.
    pub(super) fn poll_out<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.held.advance(written),
            }
        }
        // An idle connection holds no memory.
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes at once, and notes each call.
    struct Narrow {
        most: usize,
        calls: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.get(..self.most).unwrap_or(bytes).to_vec();
            let len = taken.len();
            self.calls.push(taken);
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(gather: &mut Gather, stream: &mut Narrow, piece: &[u8]) -> usize {
        poll_fn(|cx| gather.poll_write(stream, cx, piece)).await.unwrap()
    }

    #[tokio::test]
    async fn small_pieces_leave_together_and_everything_in_order() {
        let mut gather = Gather::default();
        let mut stream = Narrow { most: usize::MAX, calls: Vec::new() };
        assert_eq!(write(&mut gather, &mut stream, b"head").await, 4);
        assert_eq!(write(&mut gather, &mut stream, b"message").await, 7);
        assert_eq!(write(&mut gather, &mut stream, b"end").await, 3);
        assert_eq!(stream.calls.len(), 0);
        poll_fn(|cx| gather.poll_out(&mut stream, cx)).await.unwrap();
        assert_eq!(stream.calls, [b"headmessageend"]);

        let (small, large) = (vec![1; MOST], vec![2; MOST + 1]);
        stream.calls.clear();
        assert_eq!(write(&mut gather, &mut stream, b"a").await, 1);
        assert_eq!(write(&mut gather, &mut stream, &small).await, MOST);
        assert_eq!(write(&mut gather, &mut stream, &large).await, MOST + 1);
        assert_eq!(stream.calls, [vec![b'a'], small, large]);
    }

    #[tokio::test]
    async fn a_stream_that_takes_little_is_given_the_rest_later() {
        let mut gather = Gather::default();
        let mut stream = Narrow { most: 3, calls: Vec::new() };
        assert_eq!(write(&mut gather, &mut stream, b"01234567").await, 8);
        poll_fn(|cx| gather.poll_out(&mut stream, cx)).await.unwrap();
        assert_eq!(stream.calls.concat(), b"01234567");
        // Nothing takes what a broken stream refuses.
        let mut stream = Narrow { most: 0, calls: Vec::new() };
        assert_eq!(write(&mut gather, &mut stream, b"8").await, 1);
        let error = poll_fn(|cx| gather.poll_out(&mut stream, cx)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}

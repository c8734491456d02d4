//! Which HTTP a client speaks: its first bytes tell.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most requests' heads come in one piece of this size.
const PIECE: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// A stream whose first bytes were looked at, and are read again. The rest of a head that has come
/// meanwhile is read with them: hyper would grow its buffer for a head in two pieces.
pub(super) struct Told<S> {
    first: BytesMut,
    stream: S,
}

/// Reads until it is clear which version it is. What ends before speaks HTTP/1.
pub(super) async fn tell<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Spoken, Told<S>)> {
    let mut first = BytesMut::new();
    let spoken = loop {
        let come = poll_fn(|cx| take_piece(&mut stream, cx, &mut first)).await?;
        match decide(&first) {
            Some(spoken) => break spoken,
            None if come == 0 => break Spoken::Http1,
            None => {}
        }
    };
    if spoken == Spoken::Http1 {
        escape(&mut first);
    }
    Ok((spoken, Told { first, stream }))
}

/// How many bytes have come.
fn take_piece<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    first: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    // Not in the task: it would keep the room for as long as the connection lasts.
    let mut room = [0; PIECE];
    let mut piece = ReadBuf::new(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    first.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

fn decide(first: &[u8]) -> Option<Spoken> {
    if first.starts_with(PREFACE) {
        return Some(Spoken::Http2);
    }
    (!PREFACE.starts_with(first)).then_some(Spoken::Http1)
}

/// Who types a filter behind `?filter=` for curl types quotes, which curl sends as they are, Go's
/// servers take and hyper refuses: they are escaped. Programs, which send more than one request
/// over a connection, escape them themselves.
fn escape(first: &mut BytesMut) {
    let line = first.iter().position(|byte| *byte == b'\n').unwrap_or(first.len());
    if !first.iter().take(line).any(|byte| escaped(*byte).is_some()) {
        return;
    }
    let behind = first.split_off(line);
    for byte in std::mem::take(first) {
        match escaped(byte) {
            Some(text) => first.extend_from_slice(text),
            None => first.extend_from_slice(&[byte]),
        }
    }
    first.unsplit(behind);
}

fn escaped(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'"' => Some(b"%22"),
        b'<' => Some(b"%3C"),
        b'>' => Some(b"%3E"),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Told { first, stream } = self.get_mut();
        if first.is_empty() {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let now = first.len().min(buf.remaining());
        buf.put_slice(first.get(..now).unwrap_or_default());
        first.advance(now);
        if first.is_empty() {
            *first = BytesMut::new();
            if buf.remaining() > 0 {
                // Its end and its faults are told again when it is read for their sake.
                let _ = Pin::new(stream).poll_read(cx, buf);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What is told of bytes that come in pieces, and what is read behind that.
    async fn told(pieces: &[&[u8]]) -> (Spoken, Vec<u8>) {
        let (mut client, server) = duplex(4096);
        let sends = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let reads = async {
            let (spoken, mut stream) = tell(server).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            (spoken, all)
        };
        tokio::join!(sends, reads).1
    }

    #[tokio::test]
    async fn the_first_bytes_tell_and_are_not_lost() {
        let long = [b"GET / HTTP/1.1\r\n".as_slice(), &[b'x'; 3 * PIECE]].concat();
        let two = [PREFACE, b"frames"].concat();
        for (spoken, sent) in [
            (Spoken::Http2, &*two),
            (Spoken::Http1, b"GET / HTTP/1.1\r\n\r\n"),
            (Spoken::Http1, b"PRI * HTTP/2.0\r\n\r\nXX"),
            (Spoken::Http1, b"PRI * "),
            (Spoken::Http1, b"PROPFIND / HTTP/1.1\r\n\r\n"),
            (Spoken::Http1, b""),
            (Spoken::Http1, &long),
        ] {
            assert_eq!(told(&[sent]).await, (spoken, sent.to_vec()));
            let single: Vec<&[u8]> = sent.chunks(1).collect();
            assert_eq!(told(&single).await, (spoken, sent.to_vec()));
        }
    }

    #[tokio::test]
    async fn quotes_that_were_typed_are_escaped_in_the_first_line_alone() {
        let sent = b"GET /?filter=a==\"b\" HTTP/1.1\r\nA: \"<\"\r\n\r\n";
        let read = b"GET /?filter=a==%22b%22 HTTP/1.1\r\nA: \"<\"\r\n\r\n";
        assert_eq!(told(&[sent]).await, (Spoken::Http1, read.to_vec()));
        let two = [PREFACE, b"\"<>"].concat();
        assert_eq!(told(&[&two]).await, (Spoken::Http2, two));
    }

    #[tokio::test]
    async fn the_rest_of_a_head_is_read_with_its_beginning() {
        let (mut client, server) = duplex(8 * PIECE);
        let head = vec![b'x'; 2 * PIECE];
        client.write_all(&head).await.unwrap();
        let (_, mut stream) = tell(server).await.unwrap();
        let mut room = vec![0; 4 * PIECE];
        assert_eq!(stream.read(&mut room).await.unwrap(), head.len());
    }

    #[tokio::test]
    async fn a_narrow_reader_gets_everything() {
        let (mut client, server) = duplex(4096);
        client.write_all(b"0123456789").await.unwrap();
        let (_, mut stream) = tell(server).await.unwrap();
        client.write_all(b"abc").await.unwrap();
        drop(client);
        let mut all = Vec::new();
        let mut room = [0; 4];
        loop {
            let read = stream.read(&mut room).await.unwrap();
            if read == 0 {
                break;
            }
            all.extend_from_slice(&room[..read]);
        }
        assert_eq!(all, b"0123456789abc");
    }
}

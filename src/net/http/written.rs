//! A body that is written by something that blocks, no faster than the client takes it.

use std::io::{self, Write};

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use tokio::sync::mpsc;

/// Pieces that wait for a slow client.
const WAITING: usize = 4;

/// Pieces of `size` bytes, the last one shorter, of what `write` writes on a thread of its own. It
/// fails where the client has gone, and there is nobody to tell.
pub fn written(
    size: usize,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, size, piece: Vec::with_capacity(size) };
        let _ = write(&mut out).and_then(|()| out.send());
    });
    stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

struct Pieces {
    sender: mpsc::Sender<Bytes>,
    size: usize,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(self.size));
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.get(..self.size - self.piece.len()).unwrap_or(bytes);
        self.piece.extend_from_slice(now);
        if self.piece.len() >= self.size {
            self.send()?;
        }
        Ok(now.len())
    }

    /// A piece goes once it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_are_of_one_size_whatever_was_written_at_once() {
        let all: Vec<u8> = (0..=255).collect();
        let expected = all.clone();
        let pieces = written(10, move |out| {
            let (first, rest) = all.split_at(25);
            out.write_all(first)?;
            out.flush()?;
            rest.iter().try_for_each(|byte| out.write_all(&[*byte]))
        });
        let pieces: Vec<Bytes> = pieces.collect().await;
        let sizes: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [[10; 25].as_slice(), &[6]].concat());
        assert_eq!(pieces.concat(), expected);
    }

    #[tokio::test]
    async fn who_writes_is_told_that_the_client_has_gone() {
        let (told, hears) = tokio::sync::oneshot::channel();
        let pieces = written(10, move |out| {
            let failed = loop {
                if let Err(error) = out.write_all(&[0; 10]) {
                    break error.kind();
                }
            };
            let _ = told.send(failed);
            Ok(())
        });
        drop(pieces);
        assert_eq!(hears.await, Ok(io::ErrorKind::BrokenPipe));
    }
}

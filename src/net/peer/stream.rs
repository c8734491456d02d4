//! A connection on which one side pushes: the follower asks once, then only listens.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::register::Pass;
use super::wire::{Frame, Kind, Open, Reader, Writer};

/// A listener that takes nothing for this long is cut off.
const STALLED: Duration = Duration::from_secs(10);

/// The pushing side.
pub struct Pushes {
    writer: Writer,
}

impl Pushes {
    pub(super) fn new(writer: Writer) -> Pushes {
        Pushes { writer }
    }

    /// Sends one frame; waits while the other side is slow, and fails once it is gone.
    pub async fn push(&mut self, body: Bytes) -> io::Result<()> {
        self.push_all([body]).await
    }

    /// Sends frames in one go.
    pub async fn push_all(&mut self, bodies: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let send = async {
            for body in bodies {
                self.writer.put(&Frame::new(Kind::Push, 0, body)).await?;
            }
            self.writer.flush().await
        };
        timeout(STALLED, send).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The listening side.
pub struct Pushed {
    reader: Reader,
    pass: Pass,
    /// Kept: its drop would tell the other side that this one is gone.
    _writer: Writer,
}

impl Pushed {
    /// Asks for a stream on a connection that was opened for one.
    pub(super) async fn ask(open: Open, ask: Bytes) -> io::Result<Pushed> {
        let Open { pass, reader, mut writer, .. } = open;
        writer.send(&Frame::new(Kind::Request, 0, ask)).await?;
        Ok(Pushed { reader, pass, _writer: writer })
    }

    /// The next frame; none once the other side has closed. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let frame = tokio::select! {
            frame = self.reader.next() => frame?,
            error = self.pass.revoked() => return Err(error),
        };
        match frame {
            Some(frame) if frame.kind == Kind::Push => Ok(Some(frame.body)),
            Some(frame) => {
                let why = format!("{:?} on a stream", frame.kind);
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
            None => Ok(None),
        }
    }
}

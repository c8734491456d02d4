//! One connection on which one call follows the other: for what must be said on the same one.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::register::Pass;
use super::wire::{Frame, Kind, Open, Reader, Writer};
use super::{CallError, Caller};

pub struct Exchange {
    /// Who is at the other end.
    pub caller: Caller,
    pass: Pass,
    reader: Reader,
    writer: Writer,
    next: u64,
}

impl Exchange {
    pub(super) fn new(open: Open) -> Exchange {
        let Open { caller, pass, reader, writer, .. } = open;
        Exchange { caller, pass, reader, writer, next: 1 }
    }

    /// Calls, and waits for the answer. After an error the exchange is over.
    pub async fn call(&mut self, body: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let lost = |error: io::Error| CallError::Lost(error.to_string());
        let (id, addr) = (self.next, self.caller.addr);
        self.next += 1;
        let answered = async {
            self.writer.send(&Frame::new(Kind::Request, id, body)).await.map_err(lost)?;
            loop {
                let frame = self.reader.next().await.map_err(lost)?;
                let frame = frame.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
                match frame.kind {
                    // A call that came too late is refused.
                    Kind::Ping | Kind::Leave => {}
                    Kind::Answer if frame.id == id => return Ok(frame.body),
                    Kind::Refused if frame.id == id => {
                        let why = String::from_utf8_lossy(&frame.body).into_owned();
                        return Err(CallError::NotSent(why));
                    }
                    _ => return Err(lost(io::ErrorKind::InvalidData.into())),
                }
            }
        };
        let answered = async {
            tokio::select! {
                answered = answered => answered,
                error = self.pass.revoked() => Err(lost(error)),
            }
        };
        timeout(within, answered).await.unwrap_or_else(|_| {
            Err(CallError::Lost(format!("the agent at {addr} did not answer within {within:?}")))
        })
    }
}

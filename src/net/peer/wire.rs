//! What a connection between agents is made of: a stream of bytes, TLS, a hello, frames.
//!
//! A frame is `length u32, kind u8, id u64, body`, little-endian; the length counts what follows
//! it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use crate::model::limits;
use crate::net::{Connection, Fabric};

use super::guard::{Guard, in_words};
use super::register::Pass;
use super::{Caller, Purpose};

const MAGIC: &[u8; 8] = b"rmrpeer\0";
const VERSION: u16 = 1;
const LENGTH: usize = 4;
/// Kind and id.
const HEAD: usize = 9;
/// A hello is this long, body included; a longer first frame is not one of ours.
const HELLO: usize = HEAD + MAGIC.len() + 3;
/// Bodies below this are gathered into one write.
const GATHER: usize = 64 * 1024;
/// Both sides send something at least this often.
pub(super) const PING: Duration = Duration::from_secs(1);
/// A peer that was silent for this long is taken for dead.
const SILENCE: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Welcome = 2,
    Request = 3,
    Answer = 4,
    /// The request with this id was not handled; the body says why.
    Refused = 5,
    Ping = 6,
    Push = 7,
    /// The peer is stopping: what is asked from here on is refused.
    Leave = 8,
}

impl Kind {
    fn of(code: u8) -> Option<Kind> {
        use Kind::{Answer, Hello, Leave, Ping, Push, Refused, Request, Welcome};
        [Hello, Welcome, Request, Answer, Refused, Ping, Push, Leave]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    /// Pairs an answer with its request; 0 elsewhere.
    pub id: u64,
    pub body: Bytes,
}

impl Frame {
    pub fn new(kind: Kind, id: u64, body: Bytes) -> Frame {
        Frame { kind, id, body }
    }
}

fn garbage(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

pub(super) struct Reader {
    half: ReadHalf<Connection>,
    buffer: BytesMut,
    /// The longest frame taken.
    most: usize,
}

impl Reader {
    /// The next frame; none at the end of the stream. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            let read = timeout(SILENCE, self.half.read_buf(&mut self.buffer)).await;
            let read = match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // The length of every frame is known: nobody can cut one short unnoticed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                read => read.map_err(in_words)?,
            };
            match read {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Frame>> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<LENGTH>() else {
            self.buffer.reserve(GATHER);
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length < HEAD || length > self.most {
            return Err(garbage(format!("a frame of {length} bytes")));
        }
        if rest.len() < length {
            let missing = length - rest.len();
            self.buffer.reserve(missing);
            return Ok(None);
        }
        self.buffer.advance(LENGTH);
        let mut frame = self.buffer.split_to(length);
        let code = frame.get_u8();
        let kind = Kind::of(code).ok_or_else(|| garbage(format!("a frame of kind {code}")))?;
        let id = frame.get_u64_le();
        Ok(Some(Frame::new(kind, id, frame.freeze())))
    }
}

pub(super) struct Writer {
    half: WriteHalf<Connection>,
    buffer: BytesMut,
}

impl Writer {
    /// Queues a frame; `flush` sends. A body beyond the bound is the caller's to prevent.
    pub async fn put(&mut self, frame: &Frame) -> io::Result<()> {
        let length = frame.body.len() + HEAD;
        self.buffer.put_u32_le(u32::try_from(length).map_err(|_| garbage("too long"))?);
        self.buffer.put_u8(frame.kind as u8);
        self.buffer.put_u64_le(frame.id);
        if length > GATHER {
            self.half.write_all(&self.buffer).await?;
            self.buffer.clear();
            return self.half.write_all(&frame.body).await;
        }
        self.buffer.put_slice(&frame.body);
        if self.buffer.len() > GATHER { self.flush().await } else { Ok(()) }
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.half.write_all(&self.buffer).await?;
        self.buffer.clear();
        // TLS keeps what the socket did not take at once.
        self.half.flush().await
    }

    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.put(frame).await?;
        self.flush().await
    }
}

/// Whether a body fits into a frame.
pub(super) fn fits(body: &Bytes) -> bool {
    body.len() + HEAD <= limits::PEER_FRAME
}

fn halves(stream: Connection, most: usize) -> (Reader, Writer) {
    let (read, write) = split(stream);
    let reader = Reader { half: read, buffer: BytesMut::new(), most };
    (reader, Writer { half: write, buffer: BytesMut::new() })
}

/// A connection that both sides have agreed on.
pub(super) struct Open {
    /// Who is at the other end.
    pub caller: Caller,
    pub purpose: Purpose,
    pub pass: Pass,
    pub reader: Reader,
    pub writer: Writer,
}

/// Connects, says hello and waits for the welcome: only then is it certain who listens there, and
/// that it takes this agent for what it says it is.
pub(super) async fn connect(
    fabric: &dyn Fabric,
    guard: &Guard,
    addr: SocketAddr,
    purpose: Purpose,
) -> io::Result<Open> {
    let open = async {
        let secured = guard.call(fabric.connect(addr).await?, addr, purpose).await?;
        let caller = Caller { peer: secured.peer, addr, binding: secured.binding };
        let (mut reader, mut writer) = halves(secured.stream, limits::PEER_FRAME);
        let mut hello = BytesMut::with_capacity(HELLO);
        hello.put_slice(MAGIC);
        hello.put_u16_le(VERSION);
        hello.put_u8(purpose.code());
        writer.send(&Frame::new(Kind::Hello, 0, hello.freeze())).await?;
        match reader.next().await? {
            Some(frame) if frame.kind == Kind::Welcome => {
                Ok(Open { caller, purpose, pass: secured.pass, reader, writer })
            }
            Some(frame) if frame.kind == Kind::Refused => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                String::from_utf8_lossy(&frame.body).into_owned(),
            )),
            Some(_) => Err(garbage("no welcome")),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    let open = timeout(limits::PEER_CONNECT, open)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    open.inspect_err(|error| guard.failed(error))
}

/// Takes the hello of a peer that connected, and welcomes it if its purpose is open to it.
pub(super) async fn accept(
    stream: Connection,
    guard: &Guard,
    from: SocketAddr,
    offers: impl Fn(Purpose) -> bool,
) -> io::Result<Open> {
    let open = async {
        let secured = guard.take(stream).await?;
        let caller = Caller { peer: secured.peer, addr: from, binding: secured.binding };
        let (mut reader, mut writer) = halves(secured.stream, HELLO);
        let Some(hello) = reader.next().await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let purpose = read_hello(hello)?;
        let admitted = match guard.admits(secured.peer, secured.late, purpose) {
            Ok(()) if !offers(purpose) => Err(format!("{purpose:?} is not served here")),
            admitted => admitted,
        };
        if let Err(why) = admitted {
            writer.send(&Frame::new(Kind::Refused, 0, why.clone().into())).await?;
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        writer.send(&Frame::new(Kind::Welcome, 0, Bytes::new())).await?;
        reader.most = limits::PEER_FRAME;
        Ok(Open { caller, purpose, pass: secured.pass, reader, writer })
    };
    timeout(limits::PEER_HELLO, open).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "no hello of an agent in time"))
    })
}

fn read_hello(frame: Frame) -> io::Result<Purpose> {
    let mut body = frame.body;
    if frame.kind != Kind::Hello || body.len() + HEAD != HELLO || !body.starts_with(MAGIC) {
        return Err(garbage("no hello of an agent"));
    }
    body.advance(MAGIC.len());
    let version = body.get_u16_le();
    if version != VERSION {
        return Err(garbage(format!("protocol version {version}, this agent speaks {VERSION}")));
    }
    let code = body.get_u8();
    Purpose::of(code).ok_or_else(|| garbage(format!("unknown purpose {code}")))
}

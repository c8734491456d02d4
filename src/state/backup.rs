//! The file of `snapshot save`: what a cluster holds, with a head that tells what that is.
//!
//! `magic 8, version u32, head length u32, head crc32 u32, head (postcard), the state's own
//! snapshot format in zstd, end 8, crc32 u32 of all that is before it`, numbers little-endian.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::model::{Applied, Index, Revision};

use super::State;
use super::snapshot::{Decoder, Part, SnapshotError};

const MAGIC: &[u8; 8] = b"rmrbkup\0";
/// A file that does not end so, with a checksum behind it, was cut off.
const END: &[u8; 8] = b"rmrbend\0";
/// The end and the checksum.
const TAIL: usize = 12;
const VERSION: u32 = 1;
/// Magic, version, length and checksum of the head.
const FIXED: usize = 20;
/// Far more than a head has.
const HEAD_MAX: usize = 64 * 1024;
/// zstd's own default.
const LEVEL: i32 = 3;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    pub cluster: u128,
    pub lineage: u64,
    pub level: u32,
    /// The release that wrote it.
    pub release: String,
    pub applied: Applied,
    pub index: Index,
    pub revision: Revision,
    pub members: u64,
    pub keys: u64,
    pub leases: u64,
    pub nodes: u64,
    pub instances: u64,
    pub checks: u64,
}

/// Why bytes are no backup that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    #[error("not a file of `remora snapshot save`: it does not begin with the magic bytes")]
    Magic,
    #[error("backup format {0} is newer than this release reads ({VERSION})")]
    Version(u32),
    #[error("the backup is cut off after {0} bytes")]
    Short(u64),
    #[error("the backup's head is damaged: {0}")]
    Head(String),
    #[error("the backup is damaged: {0}")]
    Body(String),
    #[error("the backup is damaged: it does not match its checksum")]
    Checksum,
    #[error("the backup's head promises other content than it has")]
    Counts,
}

impl BackupHead {
    fn of(state: &State) -> BackupHead {
        let catalog = &state.catalog;
        BackupHead {
            cluster: state.identity.cluster,
            lineage: state.identity.lineage,
            level: state.identity.level,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            applied: state.applied,
            index: state.index,
            revision: state.revision,
            members: state.members.len() as u64,
            keys: state.keys.len() as u64,
            leases: state.leases.len() as u64,
            nodes: catalog.nodes.len() as u64,
            instances: catalog.instances.len() as u64,
            checks: catalog.checks.len() as u64,
        }
    }
}

impl State {
    /// Writes a backup of this state, which must be a server's: an edge has no history.
    pub fn back_up(&self, out: &mut dyn Write) -> io::Result<()> {
        let head = match postcard::to_stdvec(&BackupHead::of(self)) {
            Ok(head) => head,
            Err(error) => unreachable!("a head is plain data: {error}"),
        };
        let mut out = Summed { out, sum: crc32fast::Hasher::new() };
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        out.write_all(&crc32fast::hash(&head).to_le_bytes())?;
        out.write_all(&head)?;
        let mut packer = zstd::stream::Encoder::new(&mut out, LEVEL)?;
        packer.include_checksum(true)?;
        self.encode_to(Part::Server, |piece| packer.write_all(piece))?;
        packer.finish()?;
        out.write_all(END)?;
        let Summed { out, sum } = out;
        out.write_all(&sum.finalize().to_le_bytes())?;
        out.flush()
    }
}

/// Sums up what goes through it.
struct Summed<'a> {
    out: &'a mut dyn Write,
    sum: crc32fast::Hasher,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.sum.update(bytes.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a backup that comes in pieces of any length; it holds the state in the making and little
/// else.
#[derive(Default)]
pub struct BackupReader {
    /// What came before the head was whole.
    first: Vec<u8>,
    body: Option<(BackupHead, zstd::stream::write::Decoder<'static, Body>)>,
    /// The last bytes, which may be the end.
    last: Vec<u8>,
    /// Of all before those.
    sum: crc32fast::Hasher,
    read: u64,
}

/// Takes what is unpacked.
struct Body(Decoder);

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BackupReader {
    /// Takes the next piece. After an error the backup is worth nothing.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        self.read += piece.len() as u64;
        let mut bytes = std::mem::take(&mut self.last);
        bytes.extend_from_slice(piece);
        let (now, last) = bytes.split_at(bytes.len().saturating_sub(TAIL));
        self.last = last.to_vec();
        self.sum.update(now);
        self.unpack(now)
    }

    fn unpack(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        if let Some((_, unpacker)) = &mut self.body {
            return unpacker.write_all(piece).map_err(|error| BackupError::Body(error.to_string()));
        }
        self.first.extend_from_slice(piece);
        let Some((head, rest)) = read_head(&self.first)? else { return Ok(()) };
        let body = Body(Decoder::new(Part::Server));
        let mut unpacker = zstd::stream::write::Decoder::new(body)
            .map_err(|error| BackupError::Body(error.to_string()))?;
        let began = unpacker.write_all(rest);
        self.body = Some((head, unpacker));
        self.first = Vec::new();
        began.map_err(|error| BackupError::Body(error.to_string()))
    }

    /// What the backup says of itself, once that was read.
    pub fn head(&self) -> Option<&BackupHead> {
        self.body.as_ref().map(|(head, _)| head)
    }

    /// The state, once every piece is in.
    pub fn finish(self) -> Result<(BackupHead, State), BackupError> {
        let short = BackupError::Short(self.read);
        let Some((head, mut unpacker)) = self.body else { return Err(short) };
        let Some((END, sum)) = self.last.split_first_chunk() else { return Err(short) };
        let mut all = self.sum;
        all.update(END);
        if sum != all.finalize().to_le_bytes() {
            return Err(BackupError::Checksum);
        }
        unpacker.flush().map_err(|error| BackupError::Body(error.to_string()))?;
        let state = unpacker.into_inner().0.finish().map_err(|error| match error {
            SnapshotError::Short(_) => short,
            error => BackupError::Body(error.to_string()),
        })?;
        let release = head.release.clone();
        if (BackupHead { release, ..BackupHead::of(&state) }) != head {
            return Err(BackupError::Counts);
        }
        Ok((head, state))
    }
}

/// Where a backup ends whose file ends with these bytes, if something may follow it.
pub fn backup_end(tail: &[u8]) -> Option<usize> {
    let end = tail.windows(END.len()).rposition(|bytes| bytes == END)? + TAIL;
    (end <= tail.len()).then_some(end)
}

/// The head and what follows it, if it is there whole.
fn read_head(bytes: &[u8]) -> Result<Option<(BackupHead, &[u8])>, BackupError> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return Err(BackupError::Magic);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let number = |at: usize| {
        let number = fixed.get(at..).and_then(<[u8]>::first_chunk::<4>);
        number.map_or(0, |number| u32::from_le_bytes(*number))
    };
    let (version, len, crc) = (number(8), number(12) as usize, number(16));
    if version != VERSION {
        return Err(BackupError::Version(version));
    }
    if len > HEAD_MAX {
        return Err(BackupError::Head(format!("{len} bytes are too long")));
    }
    let Some((head, rest)) = rest.split_at_checked(len) else { return Ok(None) };
    if crc32fast::hash(head) != crc {
        return Err(BackupError::Head("it does not match its checksum".to_owned()));
    }
    let head = postcard::from_bytes(head).map_err(|error| BackupError::Head(error.to_string()))?;
    Ok(Some((head, rest)))
}

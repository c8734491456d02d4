//! The file of a snapshot: written and read in pieces, whole and checked before it is relied on.
//!
//! `magic 8, version u32, crc32 u32, then checked: length u32, meta (postcard), the state's own
//! snapshot format in zstd`, numbers little-endian.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::limits;
use crate::state::{Decoder, Part, State};

use super::codec::{self, PlainId, PlainMembership};
use super::disk::{Disk, DiskFile};
use super::types::{LogId, SnapshotMeta, StoredMembership};

const MAGIC: &[u8; 8] = b"rmrafts\0";
const VERSION: u32 = 1;
/// Magic, version and checksum.
const HEAD: usize = 16;
/// zstd's own default: half the size for a few milliseconds per megabyte.
const LEVEL: i32 = 3;
/// What is written to and read from the disk at once.
const PIECE: usize = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Meta {
    applied: Option<PlainId>,
    membership: PlainMembership,
}

/// Why a file is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("it does not begin as a snapshot of the log does")]
    Magic,
    #[error("snapshot format {0} is newer than this release reads ({VERSION})")]
    Version(u32),
    #[error("it does not match its checksum")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Garbled(String),
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Length and checksum of a file: with the log position, what it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

/// Writes a snapshot and syncs it; its name is not durable yet.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    meta: &SnapshotMeta,
    state: &State,
) -> io::Result<Sum> {
    let file = disk.create(path)?;
    let meta = codec::encode(&Meta {
        applied: meta.last_log_id.as_ref().map(PlainId::from),
        membership: PlainMembership::from(&meta.last_membership),
    });
    let mut out = FileWriter { file: &*file, at: HEAD as u64, piece: Vec::new(), crc: summer() };
    out.write_all(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    out.write_all(&meta)?;
    let mut packer = zstd::stream::Encoder::new(out, LEVEL)?;
    state.encode_to(Part::Server, |piece| packer.write_all(piece))?;
    let mut out = packer.finish()?;
    out.flush()?;
    let sum = Sum { bytes: out.at, crc: out.crc.finalize() };
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&sum.crc.to_le_bytes());
    file.write_at(&head, 0)?;
    file.sync()?;
    Ok(sum)
}

/// Reads all of a file for its checksum, and gives what it says of itself.
pub(super) fn check(disk: &dyn Disk, path: &Path) -> io::Result<(SnapshotMeta, Sum)> {
    let mut reader = FileReader::open(disk, path)?;
    let expected = read_head(&mut reader)?;
    let mut checked = Summed { inner: reader, crc: summer() };
    let meta = read_meta(&mut checked)?;
    Ok((meta, checked.finish(expected)?))
}

/// Reads a whole snapshot; of a damaged one nothing.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<(SnapshotMeta, State, Sum)> {
    let mut reader = FileReader::open(disk, path)?;
    let expected = read_head(&mut reader)?;
    let mut checked = Summed { inner: reader, crc: summer() };
    let meta = read_meta(&mut checked)?;
    let garbled = |why: String| io::Error::from(SnapshotError::Garbled(why));
    let mut unpacker = zstd::stream::Decoder::new(&mut checked)?;
    let mut decoder = Decoder::new(Part::Server);
    let (mut piece, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        let read = unpacker.read(&mut piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
        total += read.len();
        if total > limits::SNAPSHOT {
            return Err(garbled(format!("its state has more than {} bytes", limits::SNAPSHOT)));
        }
        decoder.push(read).map_err(|error| garbled(error.to_string()))?;
    }
    drop(unpacker);
    let state = decoder.finish().map_err(|error| garbled(error.to_string()))?;
    Ok((meta, state, checked.finish(expected)?))
}

fn summer() -> crc32fast::Hasher {
    crc32fast::Hasher::new()
}

/// The checksum that the rest is to have.
fn read_head(reader: &mut impl Read) -> io::Result<u32> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).map_err(|_| SnapshotError::Magic)?;
    let rest = head.strip_prefix(MAGIC).ok_or(SnapshotError::Magic)?;
    let numbers = rest.split_first_chunk::<4>();
    let (version, crc) = numbers.ok_or(SnapshotError::Checksum)?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        version => return Err(SnapshotError::Version(version).into()),
    }
    let crc = crc.first_chunk::<4>().ok_or(SnapshotError::Checksum)?;
    Ok(u32::from_le_bytes(*crc))
}

fn read_meta(reader: &mut impl Read) -> io::Result<SnapshotMeta> {
    let short = |_| SnapshotError::Garbled("it ends too early".to_owned());
    let mut len = [0; 4];
    reader.read_exact(&mut len).map_err(short)?;
    let len = u32::from_le_bytes(len);
    let mut meta = Vec::new();
    reader.take(u64::from(len)).read_to_end(&mut meta)?;
    let meta: Meta = codec::decode("its meta", &meta)
        .map_err(|error| SnapshotError::Garbled(error.to_string()))?;
    Ok(SnapshotMeta {
        last_log_id: meta.applied.map(LogId::from),
        last_membership: StoredMembership::from(meta.membership),
    })
}

/// Writes one piece after the other, and sums them up.
struct FileWriter<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    piece: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.piece, self.at)?;
        self.crc.update(&self.piece);
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

struct FileReader<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    /// Where the next piece begins.
    at: u64,
    piece: Bytes,
}

impl FileReader<'_> {
    fn open<'a>(disk: &'a dyn Disk, path: &'a Path) -> io::Result<FileReader<'a>> {
        let piece = Bytes::from(disk.read_at(path, 0, PIECE)?);
        Ok(FileReader { disk, path, at: piece.len() as u64, piece })
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.disk.read_at(self.path, self.at, PIECE)?.into();
            self.at += self.piece.len() as u64;
        }
        let len = out.len().min(self.piece.len());
        let from = self.piece.split_to(len);
        out.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = *from);
        Ok(len)
    }
}

/// Sums up what is read through it.
struct Summed<'a> {
    inner: FileReader<'a>,
    crc: crc32fast::Hasher,
}

impl Summed<'_> {
    /// Reads on to the end, and compares.
    fn finish(mut self, expected: u32) -> io::Result<Sum> {
        io::copy(&mut self, &mut io::sink())?;
        let (crc, bytes) = (self.crc.finalize(), self.inner.at);
        if crc == expected { Ok(Sum { bytes, crc }) } else { Err(SnapshotError::Checksum.into()) }
    }
}

impl Read for Summed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        self.crc.update(out.get(..len).unwrap_or_default());
        Ok(len)
    }
}

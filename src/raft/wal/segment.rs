//! A segment: a file of fixed size with a header that says which life of the file this is.
//!
//! `magic 8, version u32, crc32 u32, sequence u64, salt u64, first frame u64`, little-endian. The
//! header is synced before the file gets its name, so a named segment always has one.

use std::path::{Path, PathBuf};

use super::super::disk::Disk;
use super::error::WalError;

/// Room that the header takes; frames begin behind it.
pub(super) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"rmrawal\0";
const VERSION: u32 = 1;
const SUFFIX: &str = ".wal";
pub(super) const SPARE_PREFIX: &str = "spare-";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts segments; a segment's name.
    pub(super) sequence: u64,
    /// Drawn for this life of the file.
    pub(super) salt: u64,
    /// The number of its first frame: where the segment before it must have ended.
    pub(super) first_frame: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("it does not begin as a segment does")]
    Magic,
    #[error("segment format {0} is newer than this release reads ({VERSION})")]
    Version(u32),
    #[error("its header does not match its checksum")]
    Checksum,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut body = Vec::with_capacity(HEADER);
        for number in [self.sequence, self.salt, self.first_frame] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let mut header = [0; HEADER];
        for (to, from) in header.iter_mut().zip(bytes) {
            *to = from;
        }
        header
    }

    pub(super) fn decode(segment: &[u8]) -> Result<Header, HeaderError> {
        let rest = segment.strip_prefix(MAGIC).ok_or(HeaderError::Magic)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Magic)?;
        match u32::from_le_bytes(*version) {
            VERSION => {}
            version => return Err(HeaderError::Version(version)),
        }
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Checksum)?;
        let body = rest.first_chunk::<24>().ok_or(HeaderError::Checksum)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(HeaderError::Checksum);
        }
        let mut numbers = body
            .chunks_exact(8)
            .map(|chunk| chunk.first_chunk::<8>().map_or(0, |number| u64::from_le_bytes(*number)));
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Header { sequence: next(), salt: next(), first_frame: next() })
    }
}

/// `<twenty digits>.wal`: names sort as their sequences do.
pub(super) fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:020}{SUFFIX}"))
}

/// The sequence that a name stands for.
pub(super) fn sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// Whether there is a log in a directory, however much of it.
pub(in crate::raft) fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    let names = disk.list(dir).map_err(WalError::io("list", dir))?;
    Ok(names.iter().any(|name| sequence(name).is_some()))
}

/// A file that is ready to become the segment `sequence`.
pub(super) fn spare_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{SPARE_PREFIX}{sequence:020}"))
}

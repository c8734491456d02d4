//! The snapshot format: versioned, checksummed, in sections so small that nobody holds it whole.
//!
//! `magic, version u32, then sections of (kind u8, length u32, crc32 u32, rows)`, numbers
//! little-endian. A section has rows of one table back to back (postcard); a large table has many
//! sections. The last section tells how many came before it. Every table is written in key order,
//! so equal states give equal bytes.

use std::convert::Infallible;

use serde::Serialize;

use crate::model::{Revision, limits};

use super::State;
use super::tables::{self, Tables};

pub(super) const MAGIC: &[u8; 8] = b"rmrsnap\0";
const VERSION: u32 = 1;
/// Kind, length and checksum.
pub(super) const SECTION_HEAD: usize = 9;
/// A section is closed once it has this many bytes.
const SECTION: usize = 64 * 1024;
const END: u8 = 255;

/// How much of the state a snapshot carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What everyone holds: keys, catalog, leases, members.
    Shared,
    /// The same and what only servers hold: the history, the join tokens.
    Server,
}

/// Why bytes are no snapshot that can be taken over.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("not a snapshot: it does not begin with the magic bytes")]
    Magic,
    #[error("snapshot format {0} is not among those that this release reads (up to {VERSION})")]
    Version(u32),
    #[error("the snapshot is cut off after {0} bytes")]
    Short(u64),
    #[error("{0} bytes follow the snapshot's end")]
    Surplus(usize),
    #[error("section {kind} at byte {offset} does not match its checksum")]
    Checksum { kind: u8, offset: u64 },
    #[error("section {kind} at byte {offset} cannot be read: {why}")]
    Garbled { kind: u8, offset: u64, why: String },
    #[error("revision {0} names a current row that the shared part does not have")]
    Astray(Revision),
    #[error("the snapshot lacks its {0} part")]
    Missing(&'static str),
}

impl State {
    /// Gives the snapshot of this state to `sink` in pieces of about 64 KiB, one section each. An
    /// edge's state has no server part to give. Ends early with an error of `sink`.
    pub fn encode_to<E>(
        &self,
        part: Part,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        sink(&head)?;
        let mut sealer = Sealer::new(sink);
        tables::write(self, part, &mut sealer)?;
        sealer.end()
    }

    /// The same in one piece, for states that are small.
    pub fn encode(&self, part: Part) -> Vec<u8> {
        let mut out = Vec::new();
        let Ok(()) = self.encode_to(part, |piece| {
            out.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        out
    }

    /// Reads what `encode` wrote. A server needs both parts, an edge drops the server part.
    pub fn decode(bytes: &[u8], part: Part) -> Result<State, SnapshotError> {
        let mut decoder = Decoder::new(part);
        for piece in bytes.chunks(SECTION) {
            decoder.push(piece)?;
        }
        decoder.finish()
    }

    /// Over that part of the state in its canonical encoding: equal on every agent that holds it
    /// and has applied the same entries.
    pub fn checksum(&self, part: Part) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let Ok(()) = self.encode_to(part, |piece| {
            hasher.update(piece);
            Ok::<(), Infallible>(())
        });
        hasher.finalize()
    }
}

/// Gathers rows into sections.
pub(super) struct Sealer<S> {
    sink: S,
    kind: u8,
    /// Room for the head, then rows.
    section: Vec<u8>,
    sections: u64,
}

impl<E, S: FnMut(&[u8]) -> Result<(), E>> Sealer<S> {
    fn new(sink: S) -> Sealer<S> {
        Sealer { sink, kind: 0, section: vec![0; SECTION_HEAD], sections: 0 }
    }

    pub(super) fn row<T: Serialize>(&mut self, kind: u8, row: &T) -> Result<(), E> {
        if kind != self.kind {
            self.close()?;
            self.kind = kind;
        }
        self.section = match postcard::to_extend(row, std::mem::take(&mut self.section)) {
            Ok(section) => section,
            Err(error) => unreachable!("rows are plain data: {error}"),
        };
        if self.section.len() >= SECTION { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), E> {
        let Some((head, rows)) = self.section.split_first_chunk_mut::<SECTION_HEAD>() else {
            return Ok(());
        };
        if rows.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes();
        let crc = section_crc(self.kind, len, rows).to_le_bytes();
        let fields = [self.kind].into_iter().chain(len).chain(crc);
        head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        (self.sink)(&self.section)?;
        self.section.truncate(SECTION_HEAD);
        self.sections += 1;
        Ok(())
    }

    fn end(mut self) -> Result<(), E> {
        self.close()?;
        let sections = self.sections;
        self.row(END, &sections)?;
        self.close()
    }
}

/// Over all of a section, so that a damaged kind or length is found as well.
pub(super) fn section_crc(kind: u8, len: [u8; 4], rows: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&len);
    hasher.update(rows);
    hasher.finalize()
}

/// Makes a state of a snapshot that comes in pieces of any length. It holds the state in the
/// making and no more than one section of bytes.
pub struct Decoder {
    tables: Tables,
    part: Part,
    /// What came and could not be read yet.
    rest: Vec<u8>,
    /// Where `rest` begins in the snapshot.
    offset: u64,
    begun: bool,
    sections: u64,
    ended: bool,
}

impl Decoder {
    pub fn new(part: Part) -> Decoder {
        let tables = Tables::default();
        let rest = Vec::new();
        Decoder { tables, part, rest, offset: 0, begun: false, sections: 0, ended: false }
    }

    /// Takes the next piece. After an error the snapshot is worth nothing.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let mut at = 0;
        while let Some(taken) = self.take(bytes.get(at..).unwrap_or_default(), at as u64)? {
            at += taken;
        }
        bytes.drain(..at);
        self.offset += at as u64;
        self.rest = bytes;
        Ok(())
    }

    /// The state, once every piece is in.
    pub fn finish(self) -> Result<State, SnapshotError> {
        if !self.ended {
            return Err(SnapshotError::Short(self.offset + self.rest.len() as u64));
        }
        if !self.rest.is_empty() {
            return Err(SnapshotError::Surplus(self.rest.len()));
        }
        self.tables.finish(self.part)
    }

    /// Reads one section, or the head of all, if it is there whole; how long it was.
    fn take(&mut self, bytes: &[u8], at: u64) -> Result<Option<usize>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        if !self.begun {
            return self.begin(bytes);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<SECTION_HEAD>() else {
            return Ok(None);
        };
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let (len, offset) = ([l0, l1, l2, l3], self.offset + at);
        let long = u32::from_le_bytes(len) as usize;
        let garbled = |why: String| SnapshotError::Garbled { kind, offset, why };
        if long > limits::SNAPSHOT_SECTION {
            return Err(garbled(format!("{long} bytes are too long for a section")));
        }
        let Some(rows) = rest.get(..long) else { return Ok(None) };
        if section_crc(kind, len, rows) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(SnapshotError::Checksum { kind, offset });
        }
        if kind == END {
            let sections: u64 =
                postcard::from_bytes(rows).map_err(|error| garbled(error.to_string()))?;
            if sections != self.sections {
                let why = format!("{} sections came, {sections} were written", self.sections);
                return Err(garbled(why));
            }
            self.ended = true;
        } else {
            self.sections += 1;
            self.tables.take(kind, self.part, rows).map_err(|unfit| match unfit {
                tables::Unfit::Garbled(why) => garbled(why),
                tables::Unfit::Astray(revision) => SnapshotError::Astray(revision),
            })?;
        }
        Ok(Some(SECTION_HEAD + long))
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<Option<usize>, SnapshotError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.get(..known) != MAGIC.get(..known) {
            return Err(SnapshotError::Magic);
        }
        let Some(version) = bytes.get(MAGIC.len()..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(None);
        };
        match u32::from_le_bytes(*version) {
            VERSION => self.begun = true,
            version => return Err(SnapshotError::Version(version)),
        }
        Ok(Some(MAGIC.len() + version.len()))
    }
}

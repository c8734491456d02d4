//! The records of a batch: entries, vote, committed, truncation and purge, and their bytes.
//!
//! `kind u8, next u64, term u64, length u32, payload`, little-endian. `next` is an index plus one,
//! so that 0 can say "none".

use bytes::Bytes;

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// One step of the log's history. Replayed in order they give its present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Follows the entry before it; the payload is the log store's own.
    Entry(Position, Bytes),
    Vote(Bytes),
    Committed(Option<Position>),
    /// Entries after this one are void; none: all are.
    Truncate(Option<Position>),
    /// Entries up to this one are no longer needed.
    Purge(Position),
}

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const COMMITTED: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, position, payload): (u8, Option<Position>, &[u8]) = match self {
            Record::Entry(position, payload) => (ENTRY, Some(*position), payload),
            Record::Vote(payload) => (VOTE, None, payload),
            Record::Committed(position) => (COMMITTED, *position, &[]),
            Record::Truncate(position) => (TRUNCATE, *position, &[]),
            Record::Purge(position) => (PURGE, Some(*position), &[]),
        };
        let (next, term) = position.map_or((0, 0), |at| (at.index.saturating_add(1), at.term));
        out.push(kind);
        out.extend_from_slice(&next.to_le_bytes());
        out.extend_from_slice(&term.to_le_bytes());
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(payload);
    }

    /// Bytes that `encode` writes.
    pub(super) fn size(&self) -> usize {
        let payload = match self {
            Record::Entry(_, payload) | Record::Vote(payload) => payload.len(),
            Record::Committed(_) | Record::Truncate(_) | Record::Purge(_) => 0,
        };
        21 + payload
    }
}

/// All records of a frame; none if its bytes are not a row of records, which a matching checksum
/// leaves only to a release that this one does not know.
pub(super) fn decode_all(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = decode(bytes)?;
        records.push(record);
        bytes = rest;
    }
    Some(records)
}

fn decode(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (next, rest) = rest.split_first_chunk::<8>()?;
    let (term, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let term = u64::from_le_bytes(*term);
    let position = u64::from_le_bytes(*next).checked_sub(1).map(|index| Position { index, term });
    let record = match *kind {
        ENTRY => Record::Entry(position?, Bytes::copy_from_slice(payload)),
        VOTE => Record::Vote(Bytes::copy_from_slice(payload)),
        COMMITTED => Record::Committed(position),
        TRUNCATE => Record::Truncate(position),
        PURGE => Record::Purge(position?),
        _ => return None,
    };
    Some((record, rest))
}

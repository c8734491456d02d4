//! Reads all segments at the start: cuts off a torn tail, refuses anything else that is damaged.

use std::path::Path;

use super::super::disk::Disk;
use super::error::WalError;
use super::frame;
use super::record::{self, Record};
use super::replay::Recovered;
use super::segment::{self, Header};

/// What was found on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) recovered: Recovered,
    /// Oldest first; the last one is written on.
    pub(super) segments: Vec<Segment>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    /// The highest index of an entry in it.
    pub(super) last_index: Option<u64>,
    pub(super) size: usize,
    /// Where its last whole frame ends.
    pub(super) end: usize,
    /// The number of the frame that comes there.
    pub(super) next_frame: u64,
}

pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Found, WalError> {
    let names = disk.list(dir).map_err(WalError::io("list", dir))?;
    let sequences: Vec<u64> = names.iter().filter_map(|name| segment::sequence(name)).collect();
    let mut found = Found { recovered: Recovered::default(), segments: Vec::new() };
    for (position, sequence) in sequences.iter().enumerate() {
        if let Some(before) = found.segments.last()
            && before.header.sequence + 1 != *sequence
        {
            let missing = segment::path(dir, before.header.sequence + 1);
            return Err(WalError::MissingSegment(missing));
        }
        let path = segment::path(dir, *sequence);
        let bytes = disk.read(&path).map_err(WalError::io("read", &path))?;
        let header = read_header(&path, &bytes, *sequence)?;
        if let Some(before) = found.segments.last() {
            check_joint(dir, before, &header)?;
        }
        let next = read_frames(&path, &bytes, header, &mut found.recovered)?;
        if position + 1 == sequences.len() {
            check_tail(disk, &path, &bytes, &next)?;
        }
        found.segments.push(next);
    }
    if let Some(first) = found.recovered.gap() {
        let purged = found.recovered.purged.map_or("nothing".to_owned(), |p| p.index.to_string());
        return Err(WalError::Gap { dir: dir.to_owned(), first, purged });
    }
    Ok(found)
}

/// A segment says with which frame it begins, so a damaged end of the one before shows.
fn check_joint(dir: &Path, before: &Segment, next: &Header) -> Result<(), WalError> {
    if before.next_frame == next.first_frame {
        return Ok(());
    }
    Err(WalError::Corrupt {
        path: segment::path(dir, before.header.sequence),
        offset: before.end as u64,
        why: format!(
            "frame {} is damaged, though the next segment begins with frame {}",
            before.next_frame, next.first_frame
        ),
    })
}

fn read_header(path: &Path, bytes: &[u8], sequence: u64) -> Result<Header, WalError> {
    let corrupt = |why| WalError::Corrupt { path: path.to_owned(), offset: 0, why };
    let header = Header::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    if header.sequence != sequence {
        return Err(corrupt(format!("it is segment {} under another name", header.sequence)));
    }
    Ok(header)
}

fn read_frames(
    path: &Path,
    bytes: &[u8],
    header: Header,
    recovered: &mut Recovered,
) -> Result<Segment, WalError> {
    let corrupt = |offset: usize, why: String| WalError::Corrupt {
        path: path.to_owned(),
        offset: offset as u64,
        why,
    };
    let mut found = Segment {
        header,
        last_index: None,
        size: bytes.len(),
        end: segment::HEADER,
        next_frame: header.first_frame,
    };
    while let Some(frame) = frame::read(bytes, found.end, header.salt)
        && frame.number == found.next_frame
    {
        let records = record::decode_all(frame.payload)
            .ok_or_else(|| corrupt(found.end, "its records are of no known kind".to_owned()))?;
        for record in records {
            if let Record::Entry(position, _) = &record {
                found.last_index = found.last_index.max(Some(position.index));
            }
            recovered.apply(record).map_err(|why| corrupt(found.end, why))?;
        }
        found.end = frame.next;
        found.next_frame += 1;
    }
    Ok(found)
}

/// Behind the last whole frame lies nothing, the remains of a former life, a torn write, or, with
/// a valid frame of this life still further on, damage to something that was acknowledged.
fn check_tail(disk: &dyn Disk, path: &Path, bytes: &[u8], found: &Segment) -> Result<(), WalError> {
    let salt = found.header.salt;
    if let Some(later) = frame::find_later(bytes, found.end, salt, found.next_frame - 1) {
        let why = format!(
            "frame {} is damaged, though a later one at byte {later} is whole",
            found.next_frame
        );
        return Err(WalError::Corrupt { path: path.to_owned(), offset: found.end as u64, why });
    }
    if frame::number(bytes, found.end) != Some(found.next_frame) {
        return Ok(());
    }
    tracing::warn!(
        file = %path.display(),
        offset = found.end,
        "the last write was torn by a crash and is cut off; nothing in it was acknowledged"
    );
    let file = disk.open(path).map_err(WalError::io("open", path))?;
    let rest = (found.size - found.end) as u64;
    file.zero_at(found.end as u64, rest).map_err(WalError::io("clear the tail of", path))?;
    file.sync().map_err(WalError::io("sync", path))
}

//! The frame: one batch of records as it lies in a segment, and how a damaged one is told apart.
//!
//! `length u32, crc32 u32, number u64, payload`, little-endian, at multiples of 16 bytes. The
//! checksum covers the segment's salt, the number and the length, so that neither the remains of
//! a segment's former life nor a payload that looks like a frame can pass for one.

/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 16;
pub(super) const HEADER: usize = 16;

/// A valid frame in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) payload: &'a [u8],
    /// Where the frame after it begins.
    pub(super) next: usize,
}

/// Bytes that a frame with this payload takes in a segment.
pub(super) fn size(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGN)
}

/// Completes a frame whose payload stands in `bytes` after `HEADER` bytes of room.
pub(super) fn seal(bytes: &mut Vec<u8>, salt: u64, number: u64) {
    let payload = bytes.get(HEADER..).unwrap_or_default();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let crc = checksum(salt, number, len, payload);
    let mut header = [0; HEADER];
    let fields = len.to_le_bytes().into_iter().chain(crc.to_le_bytes());
    for (to, from) in header.iter_mut().zip(fields.chain(number.to_le_bytes())) {
        *to = from;
    }
    if let Some(room) = bytes.get_mut(..HEADER) {
        room.copy_from_slice(&header);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
}

/// The frame at `at`, if a whole and undamaged one of this salt is there.
pub(super) fn read(segment: &[u8], at: usize, salt: u64) -> Option<Frame<'_>> {
    let (len, crc, number) = header(segment, at)?;
    let start = at + HEADER;
    let payload = segment.get(start..start.checked_add(len as usize)?)?;
    if len == 0 || checksum(salt, number, len, payload) != crc {
        return None;
    }
    Some(Frame { number, payload, next: at + size(payload.len()) })
}

/// The number in what may be a frame's header at `at`, valid or not.
pub(super) fn number(segment: &[u8], at: usize) -> Option<u64> {
    header(segment, at).map(|(_, _, number)| number)
}

/// Where the first valid frame at or after `from` with a number above `above` begins. Frames are
/// written one after the other was synced, so such a frame proves that damage before it is no
/// torn write.
pub(super) fn find_later(segment: &[u8], from: usize, salt: u64, above: u64) -> Option<usize> {
    let most = above.saturating_add((segment.len() / ALIGN) as u64);
    (from.next_multiple_of(ALIGN)..segment.len()).step_by(ALIGN).find(|at| {
        // The cheap test first: few places carry a number in the range.
        header(segment, *at).is_some_and(|(_, _, number)| number > above && number <= most)
            && read(segment, *at, salt).is_some()
    })
}

fn header(segment: &[u8], at: usize) -> Option<(u32, u32, u64)> {
    let header = segment.get(at..at.checked_add(HEADER)?)?;
    let (len, rest) = header.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    Some((u32::from_le_bytes(*len), u32::from_le_bytes(*crc), u64::from_le_bytes(*number)))
}

fn checksum(salt: u64, number: u64, len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Where the frames of a segment begin.
#[cfg(test)]
pub(in crate::raft) fn positions(segment: &[u8]) -> Vec<usize> {
    let Ok(header) = super::segment::Header::decode(segment) else { return Vec::new() };
    let mut at = super::segment::HEADER;
    let mut starts = Vec::new();
    while let Some(frame) = read(segment, at, header.salt) {
        starts.push(at);
        at = frame.next;
    }
    starts
}

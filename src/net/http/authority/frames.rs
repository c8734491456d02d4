//! Follows the frames that a client sends (RFC 9113), so that its header blocks are found.

use crate::model::limits;

use super::amend;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes in front of each frame.
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What comes next on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frames {
    /// The rest of the preface, of which so much has come.
    Preface(usize),
    /// A frame.
    Frame,
    /// So much of a frame that nobody needs to see whole.
    Inside(usize),
    /// Whatever it is, it is not HTTP/2.
    Foreign,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames::Preface(0)
    }

    /// Amends what has come. So many bytes may go on; the others are the beginning of a frame of
    /// headers, at most `limits::HTTP2_FRAME` and its head, and are shown again with what follows.
    pub(super) fn pass(&mut self, come: &mut [u8]) -> usize {
        let mut gone = 0;
        while let Some(rest) = come.get_mut(gone..).filter(|rest| !rest.is_empty()) {
            let passed = match *self {
                Frames::Preface(seen) => self.preface(seen, rest),
                Frames::Frame => match self.frame(rest) {
                    Some(passed) => passed,
                    None => break,
                },
                Frames::Inside(left) => self.inside(left, rest.len()),
                Frames::Foreign => rest.len(),
            };
            gone += passed;
        }
        gone
    }

    fn preface(&mut self, seen: usize, come: &[u8]) -> usize {
        let awaited = PREFACE.get(seen..).unwrap_or_default();
        let common = awaited.iter().zip(come).take_while(|(a, b)| a == b).count();
        *self = match common {
            all if all == awaited.len() => Frames::Frame,
            all if all == come.len() => Frames::Preface(seen + common),
            _ => Frames::Foreign,
        };
        common
    }

    /// None while more has to come of it.
    fn frame(&mut self, come: &mut [u8]) -> Option<usize> {
        let (head, rest) = come.split_first_chunk_mut::<HEAD>()?;
        let [high, middle, low, kind, flags, ..] = *head;
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        // A longer one hyper refuses.
        if kind == HEADERS && len <= limits::HTTP2_FRAME {
            if let Some(block) = block(rest.get_mut(..len)?, flags) {
                amend(block);
            }
            return Some(HEAD + len);
        }
        *self = Frames::Inside(len);
        self.inside(len, 0);
        Some(HEAD)
    }

    fn inside(&mut self, left: usize, come: usize) -> usize {
        *self = match left.saturating_sub(come) {
            0 => Frames::Frame,
            left => Frames::Inside(left),
        };
        left.min(come)
    }
}

/// The header fields in a frame of headers; what they do not end in is no etcd client's authority.
fn block(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let (padding, rest) = match flags & PADDED {
        0 => (0, payload),
        _ => payload.split_first_mut().map(|(padding, rest)| (usize::from(*padding), rest))?,
    };
    let rest = if flags & PRIORITY == 0 { rest } else { rest.get_mut(5..)? };
    let len = rest.len().checked_sub(padding)?;
    rest.get_mut(..len)
}

//! Finds the value of `:authority` where a block of header fields spells it out (RFC 7541).
//!
//! No table of fields is kept: a client that has sent an authority refers to it by a number from
//! then on, and a new one is named by its place in the static table, as Go's encoder does it, or in
//! full.

use std::borrow::Cow;
use std::ops::Range;

use super::huffman;

const NAME: &[u8] = b":authority";
/// Its place in the static table (RFC 7541, appendix A).
const INDEX: usize = 1;
/// Marks a string as Huffman's code.
const HUFFMAN: u8 = 0x80;
/// Bytes of a number, as many as hyper takes.
const NUMBER: usize = 5;

/// A string of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    huffman: bool,
    /// Where its length begins.
    head: usize,
    pub(super) value: Range<usize>,
}

impl Spelled {
    /// What it says; none if it is no code.
    pub(super) fn text<'a>(&self, block: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let value = block.get(self.value.clone())?;
        if self.huffman { huffman::decode(value).map(Cow::Owned) } else { Some(value.into()) }
    }

    /// Has it say as much of `text` as it has bytes, not in code.
    pub(super) fn overwrite(&self, block: &mut [u8], text: impl Iterator<Item = u8>) {
        if let Some(head) = block.get_mut(self.head) {
            *head &= !HUFFMAN;
        }
        let value = block.get_mut(self.value.clone()).unwrap_or_default();
        value.iter_mut().zip(text).for_each(|(byte, new)| *byte = new);
    }
}

/// None if the block has no authority, refers to one by a number, or breaks off before its end.
pub(super) fn authority(block: &[u8]) -> Option<Spelled> {
    let mut fields = Fields { block, at: 0 };
    loop {
        let prefix = match *block.get(fields.at)? {
            // An indexed field, and the table's size: a number alone.
            0x80.. => {
                fields.number(7)?;
                continue;
            }
            0x20..0x40 => {
                fields.number(5)?;
                continue;
            }
            // A literal that the table takes in, and two that it does not.
            0x40.. => 6,
            _ => 4,
        };
        let named = match fields.number(prefix)? {
            0 => fields.string()?.text(block).as_deref() == Some(NAME),
            index => index == INDEX,
        };
        let value = fields.string()?;
        if named {
            return Some(value);
        }
    }
}

struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// In so many bits of the next byte, or in those after it (RFC 7541, section 5.1).
    fn number(&mut self, bits: u32) -> Option<usize> {
        let mask = (1 << bits) - 1;
        let mut bytes = self.block.get(self.at..)?.iter().take(NUMBER);
        let mut number = usize::from(*bytes.next()?) & mask;
        self.at += 1;
        if number < mask {
            return Some(number);
        }
        for (n, byte) in bytes.enumerate() {
            self.at += 1;
            number += usize::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn string(&mut self) -> Option<Spelled> {
        let head = self.at;
        let huffman = self.block.get(head)? & HUFFMAN != 0;
        let len = self.number(7)?;
        let value = self.at..self.at + len;
        self.at = value.end;
        (value.end <= self.block.len()).then_some(Spelled { huffman, head, value })
    }
}

//! Reads a query: strictly, without allocating, and never beyond what has arrived.

use super::wire::{HEADER, LABEL, NAME, rtype};

/// A query that can be answered, be it by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    pub head: Head,
    pub question: Question<'a>,
    pub edns: Option<Edns<'a>>,
}

/// What every answer repeats, even one to a query that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub id: u16,
    pub opcode: u8,
    pub recursion_desired: bool,
    pub checking_disabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Name, type and class as they were sent.
    pub wire: &'a [u8],
    /// The name as it was sent, uncompressed, its root label included.
    pub name: &'a [u8],
    pub qtype: u16,
    pub qclass: u16,
}

/// The OPT record (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns<'a> {
    /// What the requestor takes over UDP.
    pub size: u16,
    pub version: u8,
    /// The client-subnet option's data (RFC 7871), if one was sent.
    pub subnet: Option<&'a [u8]>,
}

/// Why there is no `Query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed<'a> {
    /// Shorter than a header, or itself a response: no answer, so that nobody can be made to
    /// talk to himself.
    Silent,
    /// FORMERR.
    FormErr(Head),
    /// Any opcode but QUERY: NOTIMP.
    NotImp(Head, Option<Edns<'a>>),
}

pub const OPTION_SUBNET: u16 = 8;

pub fn parse(packet: &[u8]) -> Result<Query<'_>, Malformed<'_>> {
    let mut reader = Reader { packet, at: 0 };
    let (head, counts) = reader.head().ok_or(Malformed::Silent)?;
    if head.opcode != 0 {
        let query = reader.rest(head, counts);
        return Err(Malformed::NotImp(head, query.and_then(|query| query.edns)));
    }
    reader.rest(head, counts).ok_or(Malformed::FormErr(head))
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

/// Questions, answers, authorities, additionals.
type Counts = [u16; 4];

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// None: not to be answered at all.
    fn head(&mut self) -> Option<(Head, Counts)> {
        if self.packet.len() < HEADER {
            return None;
        }
        let id = self.u16()?;
        let flags = self.u16()?;
        if flags & 0x8000 != 0 {
            return None;
        }
        let head = Head {
            id,
            opcode: (flags >> 11 & 0xf) as u8,
            recursion_desired: flags & 0x0100 != 0,
            checking_disabled: flags & 0x0010 != 0,
        };
        Some((head, [self.u16()?, self.u16()?, self.u16()?, self.u16()?]))
    }

    fn rest(&mut self, head: Head, counts: Counts) -> Option<Query<'a>> {
        let [1, answers, authorities, additionals] = counts else { return None };
        let question = self.question()?;
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            self.record()?;
        }
        let mut edns = None;
        for _ in 0..additionals {
            let record = self.record()?;
            if record.rtype != rtype::OPT {
                continue;
            }
            if edns.is_some() || !record.at_root {
                return None;
            }
            edns = Some(record.edns()?);
        }
        (question.qclass != 0).then_some(Query { head, question, edns })
    }

    fn question(&mut self) -> Option<Question<'a>> {
        let start = self.at;
        loop {
            // A pointer (two high bits) has nothing to point at: the question comes first.
            let len = usize::from(self.u8()?);
            if len > LABEL || self.at + len + 1 - start > NAME {
                return None;
            }
            if len == 0 {
                break;
            }
            self.take(len)?;
        }
        let name = self.packet.get(start..self.at)?;
        let (qtype, qclass) = (self.u16()?, self.u16()?);
        Some(Question { wire: self.packet.get(start..self.at)?, name, qtype, qclass })
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => break,
                // Never followed: only OPT is read, and its owner is the root.
                pointer if pointer >= 0xc0 => {
                    self.u8()?;
                    break;
                }
                len if usize::from(len) <= LABEL => {
                    self.take(usize::from(len))?;
                }
                _ => return None,
            }
        }
        let at_root = self.at - start == 1;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = self.take(4)?;
        let len = self.u16()?;
        Some(Record { at_root, rtype, class, ttl, data: self.take(usize::from(len))? })
    }
}

struct Record<'a> {
    at_root: bool,
    rtype: u16,
    class: u16,
    ttl: &'a [u8],
    data: &'a [u8],
}

impl<'a> Record<'a> {
    /// An OPT's class is a size, its TTL holds the version.
    fn edns(&self) -> Option<Edns<'a>> {
        let version = *self.ttl.get(1)?;
        let mut options = Reader { packet: self.data, at: 0 };
        let mut subnet = None;
        while options.at < self.data.len() {
            let (code, len) = (options.u16()?, options.u16()?);
            let data = options.take(usize::from(len))?;
            if code == OPTION_SUBNET {
                subnet = Some(data).filter(|data| data.len() >= 4 && data.len() <= 20);
            }
        }
        Some(Edns { size: self.class, version, subnet })
    }
}

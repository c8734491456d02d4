//! Puts a message together within the size its reader takes.

use super::question::{Edns, Head, OPTION_SUBNET, Query};
use super::wire::{HEADER, Rcode, class, rtype};
use super::zone::Soa;

/// Bytes of an OPT record without options.
const OPT: usize = 11;
/// Bytes of an extended error in it.
const EXTENDED: usize = 6;
const OPTION_EXTENDED: u8 = 15;
/// Pointers reach no further (RFC 1035, 4.1.4).
const POINTABLE: usize = 0x4000;

/// What the flags of a finished message say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    pub authoritative: bool,
    pub truncated: bool,
    pub recursion_available: bool,
}

/// The parts of a message behind its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// Whose record it is: a name that stands in the message already, or one to be written.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// Where in the message the name stands; 0: nowhere.
    pub at: usize,
    pub name: &'a [u8],
}

impl Owner<'_> {
    /// The name that was asked for, in the case in which it was.
    pub const QUESTION: Owner<'static> = Owner { at: HEADER, name: &[] };
}

/// A message under construction. Records that do not fit are refused, what is there stays whole.
pub struct Message<'a> {
    out: &'a mut Vec<u8>,
    /// What the answer may have beside the OPT record.
    limit: usize,
    head: Head,
    edns: Option<Edns<'a>>,
    /// Says more than the rcode, to a client that speaks EDNS (RFC 8914).
    extended: Option<u16>,
    /// Who asks from another network may be told something else (RFC 7871).
    tailored: bool,
    counts: [u16; 4],
}

impl<'a> Message<'a> {
    /// An answer that repeats the question.
    pub fn answering(
        out: &'a mut Vec<u8>,
        query: &Query<'a>,
        limit: usize,
        extended: Option<u16>,
    ) -> Message<'a> {
        let mut message = Message::bare(out, query.head, query.edns, limit);
        if message.edns.is_some() && extended.is_some() {
            message.limit = message.limit.saturating_sub(EXTENDED);
            message.extended = extended;
        }
        message.out.extend_from_slice(query.question.wire);
        message.counts = [1, 0, 0, 0];
        message
    }

    /// An answer to what could not be read as a question.
    pub fn bare(
        out: &'a mut Vec<u8>,
        head: Head,
        edns: Option<Edns<'a>>,
        limit: usize,
    ) -> Message<'a> {
        out.clear();
        out.extend_from_slice(&[0; HEADER]);
        let opt = edns.map_or(0, |edns| opt_len(&edns));
        let limit = limit.saturating_sub(opt);
        Message { out, limit, head, edns, extended: None, tailored: false, counts: [0; 4] }
    }

    /// Says that the answer is for the client's own network.
    pub fn tailor(&mut self) {
        self.tailored = true;
    }

    /// A whole record; where its body begins, or none if there is no room.
    pub fn push(&mut self, section: Section, owner: Owner<'_>, body: &[u8]) -> Option<usize> {
        let start = self.out.len();
        self.own(owner);
        let body_at = self.out.len();
        self.out.extend_from_slice(body);
        self.keep(section, start).then_some(body_at)
    }

    fn own(&mut self, owner: Owner<'_>) {
        match pointer(owner.at) {
            Some(pointer) => self.out.extend_from_slice(&pointer),
            None => self.out.extend_from_slice(owner.name),
        }
    }

    /// Counts what was written since `start`, or takes it back where that is too much.
    fn keep(&mut self, section: Section, start: usize) -> bool {
        if self.out.len() > self.limit {
            self.out.truncate(start);
            return false;
        }
        if let Some(count) = self.counts.get_mut(section as usize) {
            *count = count.saturating_add(1);
        }
        true
    }

    /// The SOA of the domain `owner`.
    pub fn soa(&mut self, section: Section, owner: Owner<'_>, soa: &Soa, serial: u32) -> bool {
        let start = self.out.len();
        // Where it is written out, it stands at the start of the record.
        let again = Owner { at: if owner.at == 0 { start } else { owner.at }, ..owner };
        self.own(owner);
        self.out.extend_from_slice(&rtype::SOA.to_be_bytes());
        self.out.extend_from_slice(&class::IN.to_be_bytes());
        self.out.extend_from_slice(&soa.min_ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        self.out.extend_from_slice(b"\x02ns");
        self.own(again);
        self.out.extend_from_slice(b"\x0ahostmaster");
        self.own(again);
        for number in [serial, soa.refresh, soa.retry, soa.expire, soa.min_ttl] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        let length = u16::try_from(self.out.len() - length_at - 2).unwrap_or(u16::MAX);
        if let Some(place) = self.out.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.keep(section, start)
    }

    /// Adds the OPT record and writes the header.
    pub fn finish(mut self, rcode: Rcode, flags: Flags) {
        let rcode = rcode as u16;
        if let Some(edns) = self.edns {
            self.opt(&edns, (rcode >> 4) as u8);
        }
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        let bits = 0x8000
            | u16::from(self.head.opcode) << 11
            | bit(flags.authoritative, 0x0400)
            | bit(flags.truncated, 0x0200)
            | bit(self.head.recursion_desired, 0x0100)
            | bit(flags.recursion_available, 0x0080)
            | bit(self.head.checking_disabled, 0x0010)
            | (rcode & 0xf);
        let [questions, answers, authorities, additionals] = self.counts;
        let words = [self.head.id, bits, questions, answers, authorities, additionals];
        for (place, word) in self.out.chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }

    /// The client's size is given back, as Consul does; the version is always 0.
    fn opt(&mut self, edns: &Edns<'_>, extended_rcode: u8) {
        self.out.push(0);
        self.out.extend_from_slice(&rtype::OPT.to_be_bytes());
        self.out.extend_from_slice(&edns.size.to_be_bytes());
        self.out.extend_from_slice(&[extended_rcode, 0, 0, 0]);
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        // The same subnet; with scope 0 the answer is for everybody (RFC 7871, 7.2.1).
        if let Some([family_high, family_low, source, _, address @ ..]) = edns.subnet {
            let len = 4 + address.len() as u16;
            self.out.extend_from_slice(&OPTION_SUBNET.to_be_bytes());
            self.out.extend_from_slice(&len.to_be_bytes());
            let scope = if self.tailored { *source } else { 0 };
            self.out.extend_from_slice(&[*family_high, *family_low, *source, scope]);
            self.out.extend_from_slice(address);
        }
        if let Some(extended) = self.extended {
            self.out.extend_from_slice(&[0, OPTION_EXTENDED, 0, 2]);
            self.out.extend_from_slice(&extended.to_be_bytes());
        }
        let length = u16::try_from(self.out.len() - length_at - 2).unwrap_or(u16::MAX);
        if let Some(place) = self.out.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        if let Some(count) = self.counts.get_mut(Section::Additional as usize) {
            *count = count.saturating_add(1);
        }
    }
}

fn opt_len(edns: &Edns<'_>) -> usize {
    OPT + edns.subnet.map_or(0, |subnet| 4 + subnet.len())
}

/// A compression pointer, where a name stands there and a pointer reaches it.
fn pointer(at: usize) -> Option<[u8; 2]> {
    let at = u16::try_from(at).ok().filter(|at| *at != 0 && usize::from(*at) < POINTABLE)?;
    Some((0xc000 | at).to_be_bytes())
}

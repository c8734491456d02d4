//! Puts a message together within the size its reader takes.

use super::question::{Edns, Head, Query};
use super::wire::{self, HEADER, Rcode, WireName, rtype};

/// Bytes of an OPT record without options.
const OPT: usize = 11;
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

/// A message under construction. Records that do not fit are refused, what is there stays whole.
pub struct Message<'a> {
    out: &'a mut Vec<u8>,
    /// What the answer may have beside the OPT record.
    limit: usize,
    head: Head,
    edns: Option<Edns<'a>>,
    counts: [u16; 4],
}

impl<'a> Message<'a> {
    /// An answer that repeats the question.
    pub fn answering(out: &'a mut Vec<u8>, query: &Query<'a>, limit: usize) -> Message<'a> {
        let mut message = Message::bare(out, query.head, query.edns, limit);
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
        Message { out, limit: limit.saturating_sub(opt), head, edns, counts: [0; 4] }
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// A whole record; false if there is no room.
    pub fn push(&mut self, section: Section, record: &[u8]) -> bool {
        if self.out.len() + record.len() > self.limit {
            return false;
        }
        self.out.extend_from_slice(record);
        self.count(section);
        true
    }

    /// A record whose owner stands at `at` already (0: nowhere); false if there is no room.
    pub fn push_owned(
        &mut self,
        section: Section,
        at: usize,
        name: &WireName,
        body: &[u8],
    ) -> bool {
        let pointer = pointer(at);
        let owner = pointer.as_ref().map_or(name.as_bytes(), |pointer| pointer.as_slice());
        if self.out.len() + owner.len() + body.len() > self.limit {
            return false;
        }
        self.out.extend_from_slice(owner);
        self.out.extend_from_slice(body);
        self.count(section);
        true
    }

    fn count(&mut self, section: Section) {
        if let Some(count) = self.counts.get_mut(section as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// The zone's SOA. `owner_at` is where in the message the domain's name stands (0: nowhere).
    pub fn soa(
        &mut self,
        section: Section,
        owner_at: usize,
        domain: &WireName,
        serial: u32,
    ) -> bool {
        const REFRESH_RETRY_EXPIRE_MINIMUM: [u32; 4] = [3600, 600, 86400, 0];
        let owner = match pointer(owner_at) {
            Some(pointer) => pointer.to_vec(),
            None => domain.as_bytes().to_vec(),
        };
        let mut data = b"\x02ns".to_vec();
        let domain_at = self.out.len() + owner.len() + 10 + data.len();
        data.extend_from_slice(domain.as_bytes());
        data.extend_from_slice(b"\x0ahostmaster");
        match pointer(domain_at) {
            Some(pointer) => data.extend_from_slice(&pointer),
            None => data.extend_from_slice(domain.as_bytes()),
        }
        data.extend_from_slice(&serial.to_be_bytes());
        for number in REFRESH_RETRY_EXPIRE_MINIMUM {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let record = [owner, wire::body(rtype::SOA, 0, &[&data])].concat();
        self.push(section, &record)
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
        match edns.subnet {
            // The same subnet with scope 0: the answer is for everybody (RFC 7871, 7.2.1).
            Some([family_high, family_low, source, _, address @ ..]) => {
                let len = 4 + address.len() as u16;
                self.out.extend_from_slice(&(len + 4).to_be_bytes());
                self.out.extend_from_slice(&[0, 8]);
                self.out.extend_from_slice(&len.to_be_bytes());
                self.out.extend_from_slice(&[*family_high, *family_low, *source, 0]);
                self.out.extend_from_slice(address);
            }
            _ => self.out.extend_from_slice(&[0, 0]),
        }
        self.count(Section::Additional);
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

//! A query's bytes and a state become an answer's bytes: no clock, no socket, chance is given.

use std::sync::Arc;

use rand::rngs::SmallRng;

use crate::state::State;

use super::lookup::{Found, Lookup};
use super::memo::Memo;
use super::message::{Flags, Message, Section};
use super::question::{self, Edns, Head, Malformed, Query};
use super::target::{self, Labels, Target};
use super::wire::{HEADER, NAME, PLAIN_UDP, Rcode, class, rtype};
use super::zone::{Domain, Zone};

/// By which way a query came, and so how large its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `most` bytes, however much the client would take.
    Udp {
        most: usize,
    },
    Tcp,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is in the buffer.
    Answered { qtype: u16, rcode: Rcode },
    /// The name is not ours, and the client wants it resolved. The buffer holds the REFUSED that
    /// is due if nobody does.
    Forward { qtype: u16 },
    /// There must be no answer.
    Silent,
}

/// Answers queries, and keeps encoded answers for as long as they are true.
pub struct Answerer {
    zone: Arc<Zone>,
    memo: Memo,
}

/// One query on its way to its answer.
struct Turn<'t> {
    zone: &'t Zone,
    query: Query<'t>,
    channel: Channel,
    /// Most bytes of the answer.
    limit: usize,
}

/// Where a name stands: its own form in lower case, its labels, the domain that speaks for it.
struct Place<'t> {
    name: &'t [u8],
    labels: &'t Labels<'t>,
    domain: &'t Domain,
}

impl Answerer {
    pub fn new(zone: Arc<Zone>) -> Answerer {
        Answerer { zone, memo: Memo::default() }
    }

    /// Writes the answer into `out`, whatever was in it. No state: it was never received, and
    /// names of ours are answered with SERVFAIL.
    pub fn answer(
        &mut self,
        packet: &[u8],
        state: Option<&State>,
        channel: Channel,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Answerer { zone, memo } = self;
        let query = match question::parse(packet) {
            Ok(query) => query,
            Err(Malformed::Silent) => return Verdict::Silent,
            Err(Malformed::FormErr(head)) => return bare(out, head, None, Rcode::FormErr),
            Err(Malformed::NotImp(head, edns)) => return bare(out, head, edns, Rcode::NotImp),
        };
        let turn = Turn { zone, query, channel, limit: limit(&query, channel) };
        let mut buffer = [0; NAME];
        let name = match (turn.refusal(), lower(query.question.name, &mut buffer)) {
            (Some(rcode), _) => return turn.refuse(out, rcode),
            (None, name) => name.unwrap_or_default(),
        };
        let labels = &Labels::new(name);
        if let Some(domain) = target::domain_of(zone, labels) {
            return match state {
                Some(state) => turn.named(out, memo, state, &Place { name, labels, domain }, rng),
                None => turn.refuse(out, Rcode::ServFail),
            };
        }
        match (zone.domains.first(), state) {
            (Some(domain), Some(state)) if is_reverse(labels) => {
                turn.reverse(out, state, &Place { name, labels, domain }, rng)
            }
            (_, None) if is_reverse(labels) => turn.refuse(out, Rcode::ServFail),
            _ => turn.foreign(out),
        }
    }
}

impl Turn<'_> {
    /// What is not answered for any name.
    fn refusal(&self) -> Option<Rcode> {
        let question = self.query.question;
        match (self.query.edns, question.qclass, question.qtype) {
            (Some(edns), _, _) if edns.version > 0 => Some(Rcode::BadVers),
            (_, _, rtype::AXFR | rtype::IXFR) => Some(Rcode::NotImp),
            (_, class::IN, _) => None,
            _ => Some(Rcode::Refused),
        }
    }

    fn flags(&self, authoritative: bool) -> Flags {
        Flags { authoritative, truncated: false, recursion_available: self.zone.recursion }
    }

    fn answered(&self, rcode: Rcode) -> Verdict {
        Verdict::Answered { qtype: self.query.question.qtype, rcode }
    }

    fn refuse(&self, out: &mut Vec<u8>, rcode: Rcode) -> Verdict {
        Message::answering(out, &self.query, self.limit).finish(rcode, self.flags(false));
        self.answered(rcode)
    }

    /// A name that is not ours. Without the wish for recursion it is never forwarded.
    fn foreign(&self, out: &mut Vec<u8>) -> Verdict {
        let verdict = self.refuse(out, Rcode::Refused);
        match self.zone.recursion && self.query.head.recursion_desired {
            true => Verdict::Forward { qtype: self.query.question.qtype },
            false => verdict,
        }
    }

    /// A name under one of our domains.
    fn named(
        &self,
        out: &mut Vec<u8>,
        memo: &mut Memo,
        state: &State,
        place: &Place<'_>,
        rng: &mut SmallRng,
    ) -> Verdict {
        let qtype = self.query.question.qtype;
        if let Some(kept) = memo.get(place.name, qtype, state) {
            return self.write(out, kept, state, place, rng);
        }
        let labels = place.labels.before(place.domain);
        let target =
            labels.map_or(Target::Unknown, |labels| target::target(&labels, &self.zone.datacenter));
        let lookup = Lookup { zone: self.zone, domain: place.domain, state };
        let mut found = lookup.find(&target, qtype);
        let verdict = self.write(out, &mut found, state, place, rng);
        if let Target::Service { name: service, .. } = &target {
            memo.put(place.name, qtype, state, service, found);
        }
        verdict
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        found: &mut Found,
        state: &State,
        place: &Place<'_>,
        rng: &mut SmallRng,
    ) -> Verdict {
        let mut message = Message::answering(out, &self.query, self.limit);
        let mut flags = self.flags(true);
        let owner_at = HEADER + place.labels.suffix_at(place.domain.labels).unwrap_or_default();
        let soa = |message: &mut Message<'_>, section| {
            message.soa(section, owner_at, &place.domain.name, state.index() as u32)
        };
        let rcode = match found {
            Found::Records(answers) => {
                flags.truncated = !answers.write(&mut message, self.records(), rng);
                Rcode::NoError
            }
            Found::Zone(servers) => {
                soa(&mut message, Section::Answer);
                servers.write_into(Section::Authority, &mut message, usize::MAX, rng);
                Rcode::NoError
            }
            Found::Empty => {
                soa(&mut message, Section::Authority);
                Rcode::NoError
            }
            Found::Absent => {
                soa(&mut message, Section::Authority);
                Rcode::NxDomain
            }
        };
        message.finish(rcode, flags);
        self.answered(rcode)
    }

    /// How many records an answer may have at most, whatever fits.
    fn records(&self) -> usize {
        let addresses = match self.query.question.qtype {
            rtype::A | rtype::AAAA | rtype::ANY => self.zone.a_record_limit,
            _ => None,
        };
        let udp = match self.channel {
            Channel::Udp { .. } => self.zone.udp_answer_limit,
            Channel::Tcp => None,
        };
        addresses.unwrap_or(usize::MAX).min(udp.unwrap_or(usize::MAX))
    }

    /// PTR names of addresses we know; others are foreign. The domain is not the name's own.
    fn reverse(
        &self,
        out: &mut Vec<u8>,
        state: &State,
        place: &Place<'_>,
        rng: &mut SmallRng,
    ) -> Verdict {
        let lookup = Lookup { zone: self.zone, domain: place.domain, state };
        let ip = place.labels.all().and_then(|labels| target::reverse(&labels));
        let mut names = ip.map(|ip| lookup.names_of(ip)).unwrap_or_default();
        if names.is_empty() {
            return self.foreign(out);
        }
        let mut message = Message::answering(out, &self.query, self.limit);
        let mut flags = self.flags(true);
        if matches!(self.query.question.qtype, rtype::PTR | rtype::ANY) {
            flags.truncated = !names.write(&mut message, usize::MAX, rng);
        } else {
            message.soa(Section::Authority, 0, &place.domain.name, state.index() as u32);
        }
        message.finish(Rcode::NoError, flags);
        self.answered(Rcode::NoError)
    }
}

/// An answer to what could not be read as a question.
fn bare(out: &mut Vec<u8>, head: Head, edns: Option<Edns<'_>>, rcode: Rcode) -> Verdict {
    Message::bare(out, head, edns, PLAIN_UDP).finish(rcode, Flags::default());
    Verdict::Answered { qtype: 0, rcode }
}

/// The most bytes an answer may have.
fn limit(query: &Query<'_>, channel: Channel) -> usize {
    match (channel, query.edns) {
        (Channel::Tcp, _) => usize::from(u16::MAX),
        (Channel::Udp { .. }, None) => PLAIN_UDP,
        (Channel::Udp { most }, Some(edns)) => usize::from(edns.size).min(most).max(PLAIN_UDP),
    }
}

/// Names compare without case.
fn lower<'b>(name: &[u8], buffer: &'b mut [u8; NAME]) -> Option<&'b [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    // Lengths of labels are below 64 and so never a letter.
    lower.make_ascii_lowercase();
    Some(lower)
}

fn is_reverse(labels: &Labels<'_>) -> bool {
    let labels = labels.all().unwrap_or_default();
    matches!(labels.as_slice(), [.., "in-addr" | "ip6", "arpa"])
}

//! A query's bytes and a state become an answer's bytes: no clock, no socket, chance is given.

use std::sync::Arc;

use rand::rngs::SmallRng;

use crate::access::{Caller, Sight};
use crate::state::State;

use super::lookup::{Found, Lookup};
use super::memo::Memo;
use super::message::{Flags, Message, Owner, Section};
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

/// What this agent has of the catalog while it answers.
#[derive(Clone, Copy)]
pub enum Knowledge<'a> {
    Current(&'a State),
    /// Out of touch with the cluster for so long that it is said in the answer.
    Stale(&'a State),
    /// For longer than `dns.max_stale`.
    Expired,
    /// It was never received.
    Nothing,
}

impl<'a> Knowledge<'a> {
    fn state(self) -> Option<&'a State> {
        match self {
            Knowledge::Current(state) | Knowledge::Stale(state) => Some(state),
            Knowledge::Expired | Knowledge::Nothing => None,
        }
    }

    /// Codes of RFC 8914: Stale Answer, No Reachable Authority, Not Ready.
    fn extended(self) -> Option<u16> {
        match self {
            Knowledge::Current(_) => None,
            Knowledge::Stale(_) => Some(3),
            Knowledge::Expired => Some(22),
            Knowledge::Nothing => Some(14),
        }
    }
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is in the buffer.
    Answered { qtype: u16, rcode: Rcode },
    /// The answer is in the buffer, and names hosts whose addresses others know: they may be added.
    Outside { qtype: u16 },
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
    sight: Sight,
}

/// One query on its way to its answer.
struct Turn<'t> {
    zone: &'t Zone,
    sight: &'t Sight,
    query: Query<'t>,
    channel: Channel,
    /// Most bytes of the answer.
    limit: usize,
    /// What is said beside the rcode of answers from the catalog.
    extended: Option<u16>,
}

/// Where a name stands: its own form in lower case, its labels, the domain that speaks for it.
struct Place<'t> {
    name: &'t [u8],
    labels: &'t Labels<'t>,
    domain: &'t Domain,
}

impl Place<'_> {
    fn is_query(&self) -> bool {
        let labels = self.labels.before(self.domain).unwrap_or_default();
        matches!(labels.as_slice(), [.., "query"] | [.., "query", _] | [.., "query", _, "dc"])
    }
}

impl Answerer {
    pub fn new(zone: Arc<Zone>) -> Answerer {
        Answerer { zone, memo: Memo::default(), sight: Sight::default() }
    }

    /// Answers with the rights of that caller from here on, as this state knows them. While tokens
    /// do not count, nobody is asked for.
    pub fn look_as(&mut self, state: &State, caller: impl FnOnce() -> Caller) {
        if !state.acl().enabled() && self.sight.is_open() {
            return;
        }
        if let Some(sight) = state.sight(&caller(), &self.sight) {
            self.sight = sight;
            self.memo = Memo::default();
        }
    }

    /// Writes the answer into `out`, whatever was in it. Without a state names of ours are
    /// answered with SERVFAIL.
    pub fn answer(
        &mut self,
        packet: &[u8],
        knowledge: Knowledge<'_>,
        channel: Channel,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Answerer { zone, memo, sight } = self;
        let query = match question::parse(packet) {
            Ok(query) => query,
            Err(Malformed::Silent) => return Verdict::Silent,
            Err(Malformed::FormErr(head)) => return bare(out, head, None, Rcode::FormErr),
            Err(Malformed::NotImp(head, edns)) => return bare(out, head, edns, Rcode::NotImp),
        };
        let limit = limit(&query, channel);
        let mut turn = Turn { zone, sight, query, channel, limit, extended: None };
        let mut buffer = [0; NAME];
        let name = lower(query.question.name, &mut buffer).unwrap_or_default();
        let labels = &Labels::new(name);
        let domain = target::domain_of(zone, labels);
        if let Some(rcode) = turn.refusal() {
            let authoritative = domain.is_some() && rcode == Rcode::NotImp;
            return turn.refuse(out, rcode, authoritative);
        }
        if domain.is_some() || target::is_reverse(labels) {
            turn.extended = knowledge.extended();
        }
        if let Some(domain) = domain {
            return match knowledge.state() {
                Some(state) => turn.named(out, memo, state, &Place { name, labels, domain }, rng),
                None => turn.refuse(out, Rcode::ServFail, false),
            };
        }
        match (zone.domains.first(), knowledge.state()) {
            (Some(domain), Some(state)) if target::is_reverse(labels) => {
                turn.reverse(out, state, &Place { name, labels, domain }, rng)
            }
            (_, None) if target::is_reverse(labels) => turn.refuse(out, Rcode::ServFail, false),
            _ => turn.foreign(out),
        }
    }

    /// In place of an answer, to a source that asks too much: ask again over TCP. It is no longer
    /// than the query, so that nothing is gained by making us send it to somebody else. False:
    /// there must be no answer.
    pub fn put_off(packet: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(query) = question::parse(packet) else { return false };
        let flags = Flags { truncated: true, ..Flags::default() };
        Message::answering(out, &query, PLAIN_UDP, None).finish(Rcode::NoError, flags);
        true
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

    fn message<'m>(&'m self, out: &'m mut Vec<u8>) -> Message<'m> {
        Message::answering(out, &self.query, self.limit, self.extended)
    }

    fn refuse(&self, out: &mut Vec<u8>, rcode: Rcode, authoritative: bool) -> Verdict {
        self.message(out).finish(rcode, self.flags(authoritative));
        self.answered(rcode)
    }

    /// A name that is not ours. Without the wish for recursion it is never forwarded.
    fn foreign(&self, out: &mut Vec<u8>) -> Verdict {
        let verdict = self.refuse(out, Rcode::Refused, false);
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
        let Turn { zone, sight, .. } = self;
        let lookup = Lookup { zone, sight, domain: place.domain, state };
        let mut found = lookup.find(&target, qtype);
        let verdict = self.write(out, &mut found, state, place, rng);
        memo.put(place.name, qtype, state, &target, found);
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
        if matches!(found, Found::Closed) {
            return self.refuse(out, Rcode::Refused, false);
        }
        let mut message = self.message(out);
        // A prepared query may hang on who asks.
        if self.query.edns.is_some_and(|edns| edns.subnet.is_some()) && place.is_query() {
            message.tailor();
        }
        let mut flags = self.flags(true);
        let (owner, serial) = (self.apex(place), state.index() as u32);
        let mut outside = false;
        let rcode = match found {
            Found::Records(answers) => {
                outside = self.zone.recursion && answers.is_outside();
                let of_apex = place.labels.is(place.domain);
                let of = if of_apex { owner } else { Owner::QUESTION };
                let (section, most) = (Section::Answer, self.records());
                flags.truncated = !answers.write_for(of, section, &mut message, most, rng);
                Rcode::NoError
            }
            Found::Zone(servers) => {
                message.soa(Section::Answer, owner, &self.zone.soa, serial);
                let section = Section::Authority;
                servers.write_for(owner, section, &mut message, usize::MAX, rng);
                Rcode::NoError
            }
            Found::Empty | Found::Absent | Found::Closed => {
                message.soa(Section::Authority, owner, &self.zone.soa, serial);
                let absent = matches!(found, Found::Absent);
                if absent { Rcode::NxDomain } else { Rcode::NoError }
            }
        };
        message.finish(rcode, flags);
        match outside {
            true => Verdict::Outside { qtype: self.query.question.qtype },
            false => self.answered(rcode),
        }
    }

    /// The domain as the owner of a record: where it stands in the question, if it was asked for
    /// in lower case. Records about the zone itself do not follow the case of the question.
    fn apex<'p>(&self, place: &'p Place<'_>) -> Owner<'p> {
        let name = place.domain.name.as_bytes();
        let suffix = place
            .labels
            .suffix_at(place.domain.labels)
            .filter(|at| self.query.question.name.get(*at..).is_some_and(|asked| asked == name));
        Owner { at: suffix.map_or(0, |at| HEADER + at), name }
    }

    /// How many records an answer may have at most, whatever fits.
    fn records(&self) -> usize {
        let addresses = matches!(self.query.question.qtype, rtype::A | rtype::AAAA | rtype::ANY);
        let of_service = addresses || self.query.question.qtype == rtype::SRV;
        // Who takes no more than ever was allowed is meant by the limit.
        let plain = self.limit <= PLAIN_UDP && matches!(self.channel, Channel::Udp { .. });
        let addresses = self.zone.a_record_limit.filter(|_| addresses);
        let udp = self.zone.udp_answer_limit.filter(|_| of_service && plain);
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
        let Turn { zone, sight, .. } = self;
        let lookup = Lookup { zone, sight, domain: place.domain, state };
        let ip = place.labels.all().and_then(|labels| target::reverse(&labels));
        let mut names = ip.map(|ip| lookup.names_of(ip)).unwrap_or_default();
        if names.is_empty() {
            return self.foreign(out);
        }
        let mut message = self.message(out);
        let mut flags = self.flags(true);
        if matches!(self.query.question.qtype, rtype::PTR | rtype::ANY) {
            flags.truncated = !names.write(&mut message, usize::MAX, rng);
        } else {
            let owner = Owner { at: 0, name: place.domain.name.as_bytes() };
            let serial = state.index() as u32;
            message.soa(Section::Authority, owner, &self.zone.soa, serial);
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
pub(super) fn limit(query: &Query<'_>, channel: Channel) -> usize {
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

//! A query's bytes and a state become an answer's bytes: no clock, no socket, chance is given.

use std::sync::Arc;

use rand::rngs::SmallRng;

use crate::state::State;

use super::lookup::{Found, Lookup};
use super::memo::Memo;
use super::message::{Flags, Message, Section};
use super::question::{self, Malformed, Query};
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

/// What an answer is made from.
struct Turn<'q, 's> {
    query: Query<'q>,
    state: &'s State,
    limit: usize,
    channel: Channel,
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
        let query = match question::parse(packet) {
            Ok(query) => query,
            Err(Malformed::Silent) => return Verdict::Silent,
            Err(Malformed::FormErr(head)) => {
                Message::bare(out, head, None, PLAIN_UDP).finish(Rcode::FormErr, self.flags(false));
                return Verdict::Answered { qtype: 0, rcode: Rcode::FormErr };
            }
            Err(Malformed::NotImp(head, edns)) => {
                Message::bare(out, head, edns, PLAIN_UDP).finish(Rcode::NotImp, self.flags(false));
                return Verdict::Answered { qtype: 0, rcode: Rcode::NotImp };
            }
        };
        let qtype = query.question.qtype;
        let limit = limit(&query, channel);
        let refusal = match (&query.edns, query.question.qclass, qtype) {
            (Some(edns), _, _) if edns.version > 0 => Some(Rcode::BadVers),
            (_, _, rtype::AXFR | rtype::IXFR) => Some(Rcode::NotImp),
            (_, class::IN, _) => None,
            _ => Some(Rcode::Refused),
        };
        if let Some(rcode) = refusal {
            return self.refuse(out, &query, limit, rcode);
        }
        let mut name = [0; NAME];
        let Some(name) = lower(query.question.name, &mut name) else {
            return self.refuse(out, &query, limit, Rcode::FormErr);
        };
        let labels = Labels::new(name);
        let zone = self.zone.clone();
        let ours = target::domain_of(&zone, &labels);
        let (domain, is_reverse) = match ours {
            Some(domain) => (Some(domain), false),
            None => (zone.domains.first(), is_reverse(&labels)),
        };
        let Some(domain) = domain.filter(|_| ours.is_some() || is_reverse) else {
            return self.foreign(out, &query, limit);
        };
        let Some(state) = state else {
            return self.refuse(out, &query, limit, Rcode::ServFail);
        };
        let turn = Turn { query, state, limit, channel };
        if is_reverse {
            return self.reverse(out, &turn, domain, &labels, rng);
        }
        self.named(out, &turn, domain, &labels, name, rng)
    }

    fn flags(&self, authoritative: bool) -> Flags {
        Flags { authoritative, truncated: false, recursion_available: self.zone.recursion }
    }

    fn refuse(&self, out: &mut Vec<u8>, query: &Query<'_>, limit: usize, rcode: Rcode) -> Verdict {
        Message::answering(out, query, limit).finish(rcode, self.flags(false));
        Verdict::Answered { qtype: query.question.qtype, rcode }
    }

    /// A name that is not ours. Without the wish for recursion it is never forwarded.
    fn foreign(&self, out: &mut Vec<u8>, query: &Query<'_>, limit: usize) -> Verdict {
        let verdict = self.refuse(out, query, limit, Rcode::Refused);
        match self.zone.recursion && query.head.recursion_desired {
            true => Verdict::Forward { qtype: query.question.qtype },
            false => verdict,
        }
    }

    fn named(
        &mut self,
        out: &mut Vec<u8>,
        turn: &Turn<'_, '_>,
        domain: &Domain,
        labels: &Labels<'_>,
        name: &[u8],
        rng: &mut SmallRng,
    ) -> Verdict {
        let qtype = turn.query.question.qtype;
        let mut message = Message::answering(out, &turn.query, turn.limit);
        let mut flags = self.flags(true);
        let limit = self.records(turn);
        if let Some(answers) = self.memo.get(name, qtype, turn.state) {
            flags.truncated = !answers.write(&mut message, limit, rng);
            message.finish(Rcode::NoError, flags);
            return Verdict::Answered { qtype, rcode: Rcode::NoError };
        }
        let zone = self.zone.clone();
        let lookup = Lookup { zone: &zone, domain, state: turn.state };
        let target = labels
            .before(domain)
            .map_or(Target::Unknown, |labels| target::target(&labels, &zone.datacenter));
        let domain_at = HEADER + labels.suffix_at(domain.labels).unwrap_or_default();
        let serial = turn.state.index() as u32;
        let rcode = match lookup.find(&target, qtype) {
            _ if target == Target::Apex && qtype == rtype::SOA => {
                message.soa(Section::Answer, domain_at, &domain.name, serial);
                let mut servers = lookup.name_servers();
                servers.write_into(Section::Authority, &mut message, limit, rng);
                Rcode::NoError
            }
            Found::Records(mut answers) => {
                flags.truncated = !answers.write(&mut message, limit, rng);
                if let Target::Service { name: service, .. } = &target {
                    self.memo.put(name, qtype, turn.state, service, answers);
                }
                Rcode::NoError
            }
            Found::Empty => {
                message.soa(Section::Authority, domain_at, &domain.name, serial);
                Rcode::NoError
            }
            Found::Absent => {
                message.soa(Section::Authority, domain_at, &domain.name, serial);
                Rcode::NxDomain
            }
        };
        message.finish(rcode, flags);
        Verdict::Answered { qtype, rcode }
    }

    /// How many records an answer may have at most, whatever fits.
    fn records(&self, turn: &Turn<'_, '_>) -> usize {
        let addresses = match turn.query.question.qtype {
            rtype::A | rtype::AAAA | rtype::ANY => self.zone.a_record_limit,
            _ => None,
        };
        let udp = match turn.channel {
            Channel::Udp { .. } => self.zone.udp_answer_limit,
            Channel::Tcp => None,
        };
        addresses.unwrap_or(usize::MAX).min(udp.unwrap_or(usize::MAX))
    }

    /// PTR names of addresses we know; others are foreign.
    fn reverse(
        &self,
        out: &mut Vec<u8>,
        turn: &Turn<'_, '_>,
        domain: &Domain,
        labels: &Labels<'_>,
        rng: &mut SmallRng,
    ) -> Verdict {
        let qtype = turn.query.question.qtype;
        let lookup = Lookup { zone: &self.zone, domain, state: turn.state };
        let ip = labels.all().and_then(|labels| target::reverse(&labels));
        let mut names = ip.map(|ip| lookup.names_of(ip)).unwrap_or_default();
        if names.is_empty() {
            return self.foreign(out, &turn.query, turn.limit);
        }
        let mut message = Message::answering(out, &turn.query, turn.limit);
        let mut flags = self.flags(true);
        if matches!(qtype, rtype::PTR | rtype::ANY) {
            flags.truncated = !names.write(&mut message, usize::MAX, rng);
        } else {
            let serial = turn.state.index() as u32;
            message.soa(Section::Authority, 0, &domain.name, serial);
        }
        message.finish(Rcode::NoError, flags);
        Verdict::Answered { qtype, rcode: Rcode::NoError }
    }
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

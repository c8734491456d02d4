//! The records that answer one question, encoded once so that a message is put together by copying.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use super::message::{Message, Section};
use super::wire::{self, HEADER, WireName, rtype};

/// The owner of every answer: a pointer to the question's name.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER as u8];
/// Bytes of an answer before its data: the pointer, type, class, TTL and length.
const BEFORE_DATA: usize = 12;
/// Priority, weight and port.
const BEFORE_SRV_TARGET: usize = BEFORE_DATA + 6;

#[derive(Debug, Clone, Default)]
pub struct Answers {
    records: Vec<Record>,
    hosts: Vec<Host>,
    /// Additional records of the question's own name.
    extra: Vec<Box<[u8]>>,
    /// Records of the kind of CNAME and NS: only so many are given, however many there are.
    most: Option<usize>,
    /// The records of hosts belong to the answer: they are what a CNAME leads to.
    chain: bool,
    /// Hangs on more than the service asked for, so that it is not kept.
    volatile: bool,
    /// Some records weigh more than others.
    weighted: bool,
    /// Hosts of the records in this round's message.
    wanted: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Record {
    wire: Box<[u8]>,
    weight: u16,
    /// Where in `wire` the name of the first host stands.
    target_at: usize,
    /// Whose records are to be added.
    hosts: Vec<usize>,
    /// This round's place in the order, where weights differ.
    key: f32,
}

/// A name in the data of records, with its own records.
#[derive(Debug, Clone)]
struct Host {
    name: WireName,
    bodies: Vec<Vec<u8>>,
    /// Where in this round's message the name stands; 0: nowhere.
    at: usize,
    wanted: bool,
}

impl Answers {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record of the question's name that speaks of no other name.
    pub fn push(&mut self, body: &[u8], weight: u16) {
        self.push_record(body, weight, 0, Vec::new());
    }

    /// A CNAME, NS or PTR record.
    pub fn push_name(&mut self, rtype: u16, ttl: u32, host: usize) {
        let Some(name) = self.hosts.get(host).map(|host| host.name.clone()) else { return };
        let body = wire::body(rtype, ttl, &[name.as_bytes()]);
        self.push_record(&body, 1, BEFORE_DATA, vec![host]);
    }

    /// An SRV record; `hosts` are its target and others whose records are to be added.
    pub fn push_srv(&mut self, ttl: u32, weight: u16, port: u16, hosts: Vec<usize>) {
        let target = hosts.first().and_then(|host| self.hosts.get(*host));
        let Some(name) = target.map(|host| host.name.clone()) else { return };
        let fixed = [[0, 1], weight.to_be_bytes(), port.to_be_bytes()].concat();
        let body = wire::body(rtype::SRV, ttl, &[&fixed, name.as_bytes()]);
        self.push_record(&body, weight, BEFORE_SRV_TARGET, hosts);
    }

    fn push_record(&mut self, body: &[u8], weight: u16, target_at: usize, hosts: Vec<usize>) {
        let wire = [TO_QUESTION.as_slice(), body].concat().into();
        self.weighted |= self.records.first().is_some_and(|first| first.weight != weight);
        self.records.push(Record { wire, weight, target_at, hosts, key: 0.0 });
    }

    /// An additional record of the question's own name.
    pub fn push_extra(&mut self, body: &[u8]) {
        self.extra.push([TO_QUESTION.as_slice(), body].concat().into());
    }

    /// The number of a host that records may refer to; made with `bodies` where it is new.
    pub fn host(
        &mut self,
        known: &mut BTreeMap<WireName, usize>,
        name: WireName,
        bodies: impl FnOnce() -> Vec<Vec<u8>>,
    ) -> usize {
        *known.entry(name.clone()).or_insert_with(|| {
            self.hosts.push(Host { name, bodies: bodies(), at: 0, wanted: false });
            self.hosts.len() - 1
        })
    }

    /// Gives at most so many of the records, another choice each time.
    pub fn at_most(mut self, most: usize) -> Answers {
        self.most = Some(most);
        self
    }

    /// The hosts' records are part of the answer.
    pub fn into_chain(mut self) -> Answers {
        self.chain = true;
        self.at_most(1)
    }

    /// Says that these answers hang on more than the service asked for.
    pub fn mark_volatile(&mut self) {
        self.volatile = true;
    }

    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Bytes that keeping this costs, roughly.
    pub fn weight(&self) -> usize {
        let records = self.records.iter().map(|record| record.wire.len() + 80);
        let hosts = self.hosts.iter().map(|host| {
            host.name.as_bytes().len() + host.bodies.iter().map(|b| b.len() + 24).sum::<usize>()
        });
        256 + records.sum::<usize>() + hosts.map(|bytes| bytes + 64).sum::<usize>()
    }

    /// Puts a random choice of the records into the message, as many as fit and as `limit`
    /// allows; heavier ones come earlier in proportion to their weight. False: there was no room
    /// for one of them.
    pub fn write(&mut self, message: &mut Message<'_>, limit: usize, rng: &mut SmallRng) -> bool {
        self.write_into(Section::Answer, message, limit, rng)
    }

    pub fn write_into(
        &mut self,
        section: Section,
        message: &mut Message<'_>,
        limit: usize,
        rng: &mut SmallRng,
    ) -> bool {
        if self.weighted {
            self.draw_weights(rng);
        }
        let limit = self.most.map_or(limit, |most| most.min(limit)).min(self.records.len());
        let mut whole = true;
        for nth in 0..limit {
            if !self.weighted && nth + 1 < self.records.len() {
                let other = rng.random_range(nth..self.records.len());
                self.records.swap(nth, other);
            }
            let at = message.len();
            let Some(record) = self.records.get(nth) else { break };
            if !message.push(section, &record.wire) {
                whole = false;
                break;
            }
            want_hosts(&mut self.hosts, &mut self.wanted, record, at);
        }
        whole &= self.write_hosts(message) || !self.chain;
        for extra in &self.extra {
            if !message.push(Section::Additional, extra) {
                break;
            }
        }
        whole
    }

    /// An exponential draw divided by the weight orders records as drawing them one by one
    /// without putting back would (Efraimidis and Spirakis, 2006).
    fn draw_weights(&mut self, rng: &mut SmallRng) {
        for record in &mut self.records {
            // In (0, 1], so that the logarithm is finite; a weight of 0 comes last.
            let draw = (rng.next_u32() >> 8) as f32 + 1.0;
            let exponential = -(draw / (1_u32 << 24) as f32).ln();
            record.key = exponential / f32::from(record.weight);
        }
        self.records.sort_unstable_by(|a, b| a.key.total_cmp(&b.key));
    }

    /// Forgets the wanted hosts once their records are written. False: some had no room.
    fn write_hosts(&mut self, message: &mut Message<'_>) -> bool {
        let section = if self.chain { Section::Answer } else { Section::Additional };
        let mut whole = true;
        for host in self.wanted.drain(..) {
            let Some(host) = self.hosts.get_mut(host) else { continue };
            for body in &host.bodies {
                whole = whole && message.push_owned(section, host.at, &host.name, body);
            }
            host.at = 0;
            host.wanted = false;
        }
        whole
    }
}

/// Notes whose records are to follow, and where in the message the first of them is named.
fn want_hosts(hosts: &mut [Host], wanted: &mut Vec<usize>, record: &Record, at: usize) {
    for (nth, number) in record.hosts.iter().enumerate() {
        let Some(host) = hosts.get_mut(*number) else { continue };
        if !host.wanted {
            host.wanted = true;
            wanted.push(*number);
        }
        if nth == 0 && host.at == 0 {
            host.at = at + record.target_at;
        }
    }
}

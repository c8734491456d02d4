//! The records that answer one question, encoded once so that a message is put together by copying.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::draw::Urn;
use super::message::{Message, Owner, Section};
use super::wire::{self, BODY, WireName, rtype};

/// Where in the body of a CNAME, NS or PTR record its name stands.
const NAME_AT: usize = BODY;
/// The same of an SRV record: priority, weight and port come first.
const TARGET_AT: usize = BODY + 6;

/// Everything lies in one buffer, so that ten thousand instances are a few allocations.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Bodies of records and names, one behind the other.
    bytes: Vec<u8>,
    records: Vec<Record>,
    hosts: Vec<Host>,
    /// Bodies of additional records of the question's own name.
    extra: Span,
    /// Records of the kind of CNAME and NS: only so many are given, however many there are.
    most: Option<usize>,
    /// The records of hosts belong to the answer: they are what a CNAME leads to.
    chain: bool,
    /// Hangs on more than the service asked for, so that it is not kept.
    volatile: bool,
    /// Names hosts whose addresses somebody else knows.
    outside: bool,
    /// Some records weigh more than others.
    weighted: bool,
    urn: Option<Box<Urn>>,
    /// Hosts of the records in this round's message.
    wanted: Vec<u32>,
}

/// A part of the buffer.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    at: u32,
    len: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        let at = self.at as usize;
        bytes.get(at..at + self.len as usize).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    body: Span,
    weight: u16,
    /// Where in the body the name of its host stands.
    name_at: u16,
    /// Whose records are to be added.
    host: Option<u32>,
    /// The node of an SRV record whose target it is not: its texts are to be added.
    node: Option<u32>,
}

/// A name in the data of records, with its own records.
#[derive(Debug, Clone)]
struct Host {
    name: Span,
    addresses: Span,
    texts: Span,
    /// Where in this round's message the name stands; 0: nowhere.
    at: usize,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    #[default]
    Nothing,
    Texts,
    All,
}

/// The bodies of a host's own records.
#[derive(Debug, Default)]
pub struct Bodies {
    pub addresses: Vec<u8>,
    pub texts: Vec<u8>,
}

/// The numbers of the hosts by name, while answers are put together.
pub type Known = BTreeMap<WireName, u32>;

impl Answers {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record of the question's name that speaks of no other name.
    pub fn push(&mut self, body: &[u8], weight: u16) {
        self.push_record(&[body], weight, 0, None);
    }

    /// A CNAME, NS or PTR record.
    pub fn push_name(&mut self, rtype: u16, ttl: u32, host: u32) {
        let Some(name) = self.hosts.get(host as usize).map(|host| host.name) else { return };
        let head = wire::body_head(rtype, ttl, name.len as usize);
        let name = name.of(&self.bytes).to_vec();
        self.push_record(&[&head, &name], 1, NAME_AT, Some(host));
    }

    /// An SRV record to that host. Where the host is not the instance's node itself, `node` is
    /// the one whose texts are given.
    pub fn push_srv(&mut self, ttl: u32, weight: Weight, port: u16, host: u32, node: Option<u32>) {
        let Some(name) = self.hosts.get(host as usize).map(|host| host.name) else { return };
        let head = wire::body_head(rtype::SRV, ttl, 6 + name.len as usize);
        let [w1, w2] = weight.shown.to_be_bytes();
        let [p1, p2] = port.to_be_bytes();
        let name = name.of(&self.bytes).to_vec();
        let parts: [&[u8]; 3] = [&head, &[0, 1, w1, w2, p1, p2], &name];
        self.push_record(&parts, weight.share, TARGET_AT, Some(host));
        if let Some(record) = self.records.last_mut() {
            record.node = node;
        }
    }

    fn push_record(&mut self, parts: &[&[u8]], weight: u16, name_at: usize, host: Option<u32>) {
        let body = self.store(parts);
        let name_at = name_at as u16;
        self.weighted |= self.records.first().is_some_and(|first| first.weight != weight);
        self.records.push(Record { body, weight, name_at, host, node: None });
    }

    fn store(&mut self, parts: &[&[u8]]) -> Span {
        let at = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let len = self.bytes.len() - at;
        // What does not fit is far more than any message holds.
        match (u32::try_from(at), u32::try_from(len)) {
            (Ok(at), Ok(len)) => Span { at, len },
            _ => Span::default(),
        }
    }

    /// Additional records of the question's own name.
    pub fn set_extra(&mut self, bodies: &[u8]) {
        self.extra = self.store(&[bodies]);
    }

    /// The number of a host that records may refer to; made with `bodies` where it is new.
    pub fn host(
        &mut self,
        known: &mut Known,
        name: WireName,
        bodies: impl FnOnce() -> Bodies,
    ) -> u32 {
        if let Some(host) = known.get(&name) {
            return *host;
        }
        let Bodies { addresses, texts } = bodies();
        let host = Host {
            name: self.store(&[name.as_bytes()]),
            addresses: self.store(&[&addresses]),
            texts: self.store(&[&texts]),
            at: 0,
            wanted: Wanted::Nothing,
        };
        let number = self.hosts.len() as u32;
        self.hosts.push(host);
        known.insert(name, number);
        number
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

    /// Says that addresses of some host have to be asked for elsewhere.
    pub fn mark_outside(&mut self) {
        self.outside = true;
    }

    pub fn is_outside(&self) -> bool {
        self.outside
    }

    /// Bytes that keeping this costs, roughly.
    pub fn weight(&self) -> usize {
        let record = size_of::<Record>() + if self.weighted { 20 } else { 0 };
        let records = self.records.len() * record;
        let hosts = self.hosts.len() * size_of::<Host>();
        size_of::<Answers>() + self.bytes.len() + records + hosts
    }

    /// Puts a random choice of the records into the message, as many as fit and as `limit`
    /// allows; heavier ones come earlier in proportion to their weight. False: there was no room
    /// for one of them.
    pub fn write(&mut self, message: &mut Message<'_>, limit: usize, rng: &mut SmallRng) -> bool {
        self.write_for(Owner::QUESTION, Section::Answer, message, limit, rng)
    }

    /// The same as the records of another name, in another section.
    pub fn write_for(
        &mut self,
        owner: Owner<'_>,
        section: Section,
        message: &mut Message<'_>,
        limit: usize,
        rng: &mut SmallRng,
    ) -> bool {
        let limit = self.most.map_or(limit, |most| most.min(limit)).min(self.records.len());
        let mut whole = true;
        for nth in 0..limit {
            let Some(record) = self.draw(nth, rng) else { break };
            let Some(at) = message.push(section, owner, record.body.of(&self.bytes)) else {
                whole = false;
                break;
            };
            self.want(record, at);
        }
        if let Some(urn) = &mut self.urn {
            urn.put_back();
        }
        whole &= self.write_hosts(message) || !self.chain;
        let _ = push_all(message, Section::Additional, Owner::QUESTION, self.extra.of(&self.bytes));
        whole
    }

    /// The record that comes next, chosen among those that have not come yet.
    fn draw(&mut self, nth: usize, rng: &mut SmallRng) -> Option<Record> {
        if self.weighted && self.most.is_none() {
            let records = &self.records;
            let weights = || records.iter().map(|record| record.weight);
            let urn = self.urn.get_or_insert_with(|| Box::new(Urn::new(weights())));
            return self.records.get(urn.draw(rng)?).copied();
        }
        if nth + 1 < self.records.len() {
            let other = rng.random_range(nth..self.records.len());
            self.records.swap(nth, other);
        }
        self.records.get(nth).copied()
    }

    /// Notes whose records are to follow, and where in the message the host is named.
    fn want(&mut self, record: Record, body_at: usize) {
        for (number, want) in [(record.host, Wanted::All), (record.node, Wanted::Texts)] {
            let Some(number) = number else { continue };
            let Some(host) = self.hosts.get_mut(number as usize) else { continue };
            if host.wanted == Wanted::Nothing {
                self.wanted.push(number);
            }
            host.wanted = host.wanted.max(want);
            if want == Wanted::All && host.at == 0 {
                host.at = body_at + usize::from(record.name_at);
            }
        }
    }

    /// Forgets the wanted hosts once their records are written. False: some had no room.
    fn write_hosts(&mut self, message: &mut Message<'_>) -> bool {
        let section = if self.chain { Section::Answer } else { Section::Additional };
        let mut whole = true;
        for number in self.wanted.drain(..) {
            let Some(host) = self.hosts.get_mut(number as usize) else { continue };
            let owner = Owner { at: host.at, name: host.name.of(&self.bytes) };
            if host.wanted == Wanted::All {
                whole = whole && push_all(message, section, owner, host.addresses.of(&self.bytes));
            }
            whole = whole && push_all(message, section, owner, host.texts.of(&self.bytes));
            host.at = 0;
            host.wanted = Wanted::Nothing;
        }
        whole
    }
}

/// What an instance weighs: in the order of the answer, and as its SRV record says.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    pub share: u16,
    pub shown: u16,
}

/// Bodies that lie one behind the other become records of one owner, as many as fit.
fn push_all(
    message: &mut Message<'_>,
    section: Section,
    owner: Owner<'_>,
    mut bodies: &[u8],
) -> bool {
    while let Some((body, rest)) = wire::first_body(bodies) {
        if message.push(section, owner, body).is_none() {
            return false;
        }
        bodies = rest;
    }
    true
}

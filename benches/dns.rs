//! Measures what one DNS answer costs apart from its sockets: of 1,000 services of 3 instances, and
//! of one service that grows. Fails where an answer that is kept costs an allocation, or one of a
//! huge service time that grows faster than its size.
#![allow(unsafe_code, reason = "an allocator that counts cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use remora::dns::{Answerer, Channel, Config, Knowledge, Rcode, Verdict};
use remora::model::{Applied, Folded, NodeName, Role, ServiceDef, Source, Stamp, Weights};
use remora::replica;
use remora::state::{
    Admission, CatalogOp, Command, Founding, NodeDef, Part, Proposal, Settings, State,
};

/// Services, the instances of each, and the nodes that they are on.
#[derive(Clone, Copy)]
struct Size {
    services: usize,
    instances: usize,
    nodes: usize,
}

const MANY: Size = Size { services: 1000, instances: 3, nodes: 30 };
const ROUNDS: usize = 1000;
/// Instances of the service that grows.
const GROWTH: [usize; 3] = [100, 1000, 10_000];
/// Answers about it.
const TIMES: usize = 2000;
/// What ten times as many instances may cost at most: the index of a set grows a little, too.
const LINEAR: f64 = 25.0;
const FEW: usize = 10;
const TYPES: [(&str, u16); 3] = [("A", 1), ("AAAA", 28), ("SRV", 33)];
const UDP: Channel = Channel::Udp { most: 1232 };

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn Error>> {
    let state = filled(MANY, |_| 1)?;
    for (name, qtype) in TYPES {
        let mut asker = Asker::new(&state, MANY.services, qtype)?;
        let first = asker.asks(UDP, 1);
        let kept = asker.asks(UDP, ROUNDS);
        println!("{name:5} first {:7.0} ns   again {:7.0} ns", first.nanos, kept.nanos);
        assert_eq!(kept.allocations, 0, "allocations of {name}");
    }
    for (weights, weight) in [("equal", (|_| 1) as fn(usize) -> u16), ("uneven", |n| n as u16 % 9)]
    {
        for (name, qtype) in [TYPES[0], TYPES[2]] {
            grown(weights, weight, name, qtype)?;
        }
    }
    Ok(())
}

/// One service of ever more instances: to encode it, and to answer with some of them.
fn grown(
    weights: &str,
    weight: fn(usize) -> u16,
    name: &str,
    qtype: u16,
) -> Result<(), Box<dyn Error>> {
    let mut smaller: Option<[f64; 3]> = None;
    for instances in GROWTH {
        let state = filled(Size { services: 1, instances, nodes: instances }, weight)?;
        let mut asker = Asker::new(&state, 1, qtype)?;
        let first = asker.asks(UDP, 1);
        // What is made once for a kept answer is made by now.
        asker.asks(Channel::Tcp, 1);
        let (udp, tcp) = (asker.asks(UDP, TIMES), asker.asks(Channel::Tcp, TIMES));
        let shown = [first.nanos, udp.nanos, tcp.nanos];
        let [f, u, t] = shown;
        println!(
            "{instances:6} {weights:6} {name:4} first {f:9.0} ns   over UDP {u:7.0} ns   \
             over TCP {t:7.0} ns"
        );
        // A list of what was drawn grows when more than ever was.
        let allocations = udp.allocations + tcp.allocations;
        assert!(allocations < FEW, "{allocations} allocations of {name}");
        for (before, now) in smaller.iter().flatten().zip(shown) {
            assert!(now < LINEAR * before, "{instances} {name}: {now} ns after {before} ns");
        }
        smaller = Some(shown);
    }
    Ok(())
}

/// What one answer took.
struct Cost {
    nanos: f64,
    /// All of them together.
    allocations: usize,
}

/// Asks for every service, over and over.
struct Asker<'s> {
    answerer: Answerer,
    state: &'s State,
    queries: Vec<Vec<u8>>,
    qtype: u16,
    rng: SmallRng,
    out: Vec<u8>,
}

impl<'s> Asker<'s> {
    fn new(state: &'s State, services: usize, qtype: u16) -> Result<Asker<'s>, Box<dyn Error>> {
        Ok(Asker {
            answerer: Answerer::new(Arc::new(Config::default().zone()?)),
            state,
            queries: (0..services).map(|nth| query(nth, qtype)).collect(),
            qtype,
            rng: SmallRng::seed_from_u64(1),
            out: Vec::with_capacity(65_536),
        })
    }

    fn asks(&mut self, channel: Channel, times: usize) -> Cost {
        let Asker { answerer, state, queries, qtype, rng, out } = self;
        let (before, start) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
        for _ in 0..times {
            for packet in queries.iter() {
                let knowledge = Knowledge::Current(state);
                let verdict = answerer.answer(packet, knowledge, channel, rng, out);
                assert_eq!(verdict, Verdict::Answered { qtype: *qtype, rcode: Rcode::NoError });
                black_box(&out);
            }
        }
        let nanos = start.elapsed().as_nanos() as f64 / (times * queries.len()) as f64;
        Cost { nanos, allocations: ALLOCATIONS.load(Ordering::Relaxed) - before }
    }
}

/// A question with EDNS for the service of that number.
fn query(nth: usize, qtype: u16) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
    for label in [format!("svc-{nth}").as_str(), "service", "consul"] {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(b"\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    packet
}

fn filled(size: Size, weight: fn(usize) -> u16) -> Result<Arc<State>, Box<dyn Error>> {
    let (mut writer, replica) = replica::new(Part::Server);
    let name = |nth: usize| format!("node-{nth}");
    let nodes = (0..size.nodes).map(|nth| {
        CatalogOp::PutNode(NodeDef {
            name: name(nth).into(),
            agent: None,
            uuid: String::new(),
            address: Ipv4Addr::from(0x0a00_0000 + nth as u32).to_string().into(),
            tagged_addresses: BTreeMap::new(),
            meta: BTreeMap::new(),
            presence_ttl: Duration::from_secs(10),
        })
    });
    let instances = (0..size.services * size.instances).map(|nth| {
        let (service, instance) = (nth / size.instances, nth % size.instances);
        let id = format!("svc-{service}-{instance}");
        let weights = Weights { passing: weight(nth), warning: 1 };
        let new = ServiceDef::new(&id, &format!("svc-{service}"));
        let def = ServiceDef { port: 8000, weights, ..new };
        let node = Folded::new(&name(nth % size.nodes));
        CatalogOp::PutInstance { node, def, source: Source::Api }
    });
    let ops = nodes.chain(instances).collect();
    for command in [Command::Found(founding()?), Command::Catalog(ops)] {
        let at = Applied { term: 1, index: writer.state().applied().index + 1 };
        writer.apply(at, &Proposal { stamp: Stamp(0), command });
    }
    writer.publish();
    Ok(replica.snapshot())
}

fn founding() -> Result<Founding, Box<dyn Error>> {
    let founder = Admission {
        name: NodeName::new("bench")?,
        nonce: 1,
        role: Role::Server,
        peer_addr: (Ipv4Addr::LOCALHOST, 8300).into(),
        client_urls: Vec::new(),
        version: String::new(),
        level: remora::state::LEVEL,
        token: None,
    };
    Ok(Founding {
        cluster: 1,
        lineage: 1,
        settings: Settings::default(),
        founder,
        trust: Default::default(),
        acl: None,
    })
}

//! Measures what one DNS answer costs apart from its sockets: 1,000 services of 3 instances.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use remora::dns::{Answerer, Channel, Config, Rcode, Verdict};
use remora::model::{Applied, Folded, NodeName, Role, ServiceDef, Source, Stamp};
use remora::replica;
use remora::state::{
    Admission, CatalogOp, Command, Founding, NodeDef, Part, Proposal, Settings, State,
};

const SERVICES: usize = 1000;
const INSTANCES: usize = 3;
const ROUNDS: usize = 1000;
const NODES: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let state = filled()?;
    for (name, qtype) in [("A", 1), ("AAAA", 28), ("SRV", 33)] {
        let zone = Arc::new(Config::default().zone()?);
        let mut answerer = Answerer::new(zone);
        let first = round(&mut answerer, &state, qtype, 1);
        let kept = round(&mut answerer, &state, qtype, ROUNDS);
        println!("{name:5} first {first:7.0} ns   again {kept:7.0} ns");
    }
    Ok(())
}

/// Asks for every service `times` times; nanoseconds per answer.
fn round(answerer: &mut Answerer, state: &State, qtype: u16, times: usize) -> f64 {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut out = Vec::with_capacity(4096);
    let queries: Vec<Vec<u8>> = (0..SERVICES).map(|nth| query(nth, qtype)).collect();
    let start = Instant::now();
    for _ in 0..times {
        for packet in &queries {
            let channel = Channel::Udp { most: 1232 };
            let verdict = answerer.answer(packet, Some(state), channel, &mut rng, &mut out);
            assert_eq!(verdict, Verdict::Answered { qtype, rcode: Rcode::NoError });
            black_box(&out);
        }
    }
    start.elapsed().as_nanos() as f64 / (times * SERVICES) as f64
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

fn filled() -> Result<Arc<State>, Box<dyn Error>> {
    let (mut writer, replica) = replica::new(Part::Server);
    let name = |nth: usize| format!("node-{nth}");
    let nodes = (0..NODES).map(|nth| {
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
    let instances = (0..SERVICES * INSTANCES).map(|nth| {
        let (service, instance) = (nth / INSTANCES, nth % INSTANCES);
        let id = format!("svc-{service}-{instance}");
        let def = ServiceDef { port: 8000, ..ServiceDef::new(&id, &format!("svc-{service}")) };
        CatalogOp::PutInstance { node: Folded::new(&name(nth % NODES)), def, source: Source::Api }
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
    })
}

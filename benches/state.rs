//! What a write, a read and the rounds of housekeeping cost; `cargo bench --bench state`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;

use remora::model::{
    Applied, CheckDef, CheckKind, Folded, Health, LeaseId, NodeName, Role, ServiceDef, Source,
    Stamp,
};
use remora::replica::{self, Replica, Topic, Writer};
use remora::state::{
    Admission, CatalogOp, Command, Founding, KvCommand, NodeDef, Part, Proposal, Put, Settings,
    State,
};

const KEYS: usize = 100_000;
const SERVICES: usize = 1_000;
const INSTANCES: usize = 3;
/// Of each service in a cluster of 100,000.
const MANY: usize = 100;

fn main() {
    let (mut writer, replica) = founded();
    fill(&mut writer);
    println!("{KEYS} keys, {SERVICES} services of {INSTANCES} instances\n");
    writes(&mut writer);
    reads(&replica.snapshot());
    waiters(&mut writer, &replica);
    snapshots(&replica.snapshot(), Part::Server);
    housekeeping(&mut writer);
    let (mut writer, replica) = founded();
    register(&mut writer, MANY);
    println!("\n{} instances with a check each, as an edge gets them:", SERVICES * MANY);
    snapshots(&replica.snapshot(), Part::Shared);
}

/// Runs `work` for `times` rounds and prints what one of them took.
fn measure(what: &str, times: usize, mut work: impl FnMut(usize)) {
    let start = Instant::now();
    (0..times).for_each(&mut work);
    report(what, start.elapsed(), times);
}

fn report(what: &str, took: Duration, times: usize) {
    let each = took.as_secs_f64() / times as f64;
    println!("{what:<58} {:>12.3} us {:>12.0}/s", each * 1e6, 1.0 / each);
}

fn writes(writer: &mut Writer) {
    for batch in [1, 16, 256] {
        let what = format!("put: apply, absorb, publish every {batch}");
        measure(&what, KEYS, |n| {
            take(writer, put(key(n * 7919 % KEYS)));
            if n % batch == 0 {
                writer.publish();
            }
        });
    }
    let report = |n: usize| CatalogOp::Report {
        node: Folded::new(&format!("node-{}", n % INSTANCES)),
        check: format!("check-{}", n % SERVICES).into(),
        status: if (n / SERVICES).is_multiple_of(2) { Health::Warning } else { Health::Passing },
        output: String::new(),
    };
    measure("check report: apply, absorb, publish", 10_000, |n| {
        take(writer, Command::Catalog(vec![report(n)]));
        writer.publish();
    });
}

fn reads(state: &State) {
    let keys: Vec<Bytes> = (0..KEYS).map(key).collect();
    measure("get a key", KEYS, |n| {
        black_box(state.key(&keys[n * 7919 % KEYS]));
    });
    measure("get a key that is absent", KEYS, |n| {
        black_box(state.key(&keys[n][1..]));
    });
    let services: Vec<String> = (0..SERVICES).map(|n| format!("service-{n}")).collect();
    measure("healthy instances of a service, endpoints", KEYS, |n| {
        let healthy = state.healthy(&services[n % SERVICES], None);
        black_box(healthy.filter_map(|view| view.endpoint()).count());
    });
    measure("clone of the state", KEYS, |_| {
        black_box(state.clone());
    });
    measure("the leader's round over all presences", 100, |_| {
        black_box(state.presences().count());
    });
}

fn waiters(writer: &mut Writer, replica: &Replica) {
    let topic = || Topic::Key(key(1));
    let mut waiting: Vec<_> = (0..10_000).map(|_| replica.watch([topic()])).collect();
    measure("watch and drop beside 10,000 waiters on one topic", KEYS, |_| {
        drop(replica.watch([topic()]));
    });
    measure("put beside 10,000 waiters on another key", 10_000, |_| {
        take(writer, put(key(2)));
        writer.publish();
    });
    measure("put that wakes 10,000", 10, |_| {
        take(writer, put(key(1)));
        writer.publish();
    });
    waiting.clear();
}

fn snapshots(state: &State, part: Part) {
    let bytes = state.encode(part);
    println!("snapshot: {:.1} MB", bytes.len() as f64 / 1e6);
    measure("encode a snapshot", 3, |_| {
        black_box(state.encode(part));
    });
    measure("decode a snapshot", 3, |_| {
        black_box(State::decode(&bytes, part).is_ok());
    });
    measure("checksum", 3, |_| {
        black_box(state.checksum(Part::Shared));
    });
}

fn housekeeping(writer: &mut Writer) {
    let forget = |at| Command::Forget { tombstones: at, history: at };
    measure("forget: nothing to do", 1_000, |_| {
        take(writer, forget(Stamp(0)));
    });
    measure("delete a key: apply, absorb, publish", KEYS, |n| {
        take(writer, Command::Kv(KvCommand::Delete { key: key(n), cas: None }));
        writer.publish();
    });
    measure("forget: nothing to do beside 100,000 deletions", 1_000, |_| {
        take(writer, forget(Stamp(0)));
    });
    let revisions = writer.state().history().map_or(0, |history| history.from(0).count());
    println!("{revisions} revisions, {KEYS} deletions:");
    let now = writer.state().stamp();
    measure("forget: everything", 1, |_| {
        take(writer, forget(now.plus(Duration::from_secs(1))));
    });
    writer.publish();
}

fn take(writer: &mut Writer, command: Command) {
    let index = writer.state().applied().index + 1;
    let proposal = Proposal { stamp: Stamp(index), command };
    black_box(writer.apply(Applied { term: 1, index }, &proposal));
}

fn key(n: usize) -> Bytes {
    format!("config/app/{n:08}").into()
}

fn put(key: Bytes) -> Command {
    Command::Put(Put {
        key,
        value: Bytes::from(vec![b'v'; 64]),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn founded() -> (Writer, Replica) {
    let (mut writer, replica) = replica::new(Part::Server);
    let name = NodeName::new("node-0").unwrap_or_else(|error| unreachable!("{error}"));
    let founder = Admission {
        name,
        nonce: 1,
        role: Role::Server,
        peer_addr: ([127, 0, 0, 1], 8300).into(),
        client_urls: Vec::new(),
        version: String::new(),
        level: remora::state::LEVEL,
        token: None,
    };
    let settings = Settings::default();
    take(
        &mut writer,
        Command::Found(Founding {
            cluster: 1,
            lineage: 1,
            settings,
            founder,
            trust: Default::default(),
            acl: None,
        }),
    );
    (writer, replica)
}

fn fill(writer: &mut Writer) {
    for n in 0..KEYS {
        take(writer, put(key(n)));
    }
    register(writer, INSTANCES);
}

/// So many instances of each service, with a check each; one node has one of each.
fn register(writer: &mut Writer, instances: usize) {
    for n in 0..instances {
        let name = format!("node-{n}");
        let node = Folded::new(&name);
        take(writer, Command::Catalog(vec![CatalogOp::PutNode(node_def(&name))]));
        for service in 0..SERVICES {
            let mut def = ServiceDef::new(&format!("i-{service}"), &format!("service-{service}"));
            def.port = 80;
            let mut check = CheckDef::new(&format!("check-{service}"), "", CheckKind::Static);
            check.service_id = Some(def.id.clone());
            let (node, source) = (node.clone(), Source::Api);
            let instance = CatalogOp::PutInstance { node: node.clone(), def, source };
            let (status, output) = (Health::Passing, String::new());
            let check = CatalogOp::PutCheck { node, def: check, status, output, source };
            take(writer, Command::Catalog(vec![instance, check]));
        }
    }
    writer.publish();
}

fn node_def(name: &str) -> NodeDef {
    NodeDef {
        name: name.into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    }
}

//! The bed that answers are tested on: a small catalog, and hickory as the reader of answers.

mod aliases;
mod forms;
mod freshness;
mod guarded;
mod limits;
mod malformed;
mod names;
mod others;
mod parsing;
mod serving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::cluster::Cluster;
use crate::model::{CheckDef, CheckKind, Folded, Health, NodeName, ServiceDef, Source, Weights};
use crate::state::{CatalogOp, Command, NodeDef, Outcome, QueryDef};

use super::{Answerer, Channel, Config, Knowledge, Verdict};

const UDP: Channel = Channel::Udp { most: 65_467 };

struct Bed {
    cluster: Cluster,
    answerer: Answerer,
    rng: SmallRng,
}

fn node(name: &str, address: &str) -> NodeDef {
    NodeDef {
        name: name.into(),
        agent: None,
        uuid: String::new(),
        address: address.into(),
        tagged_addresses: BTreeMap::new(),
        meta: BTreeMap::new(),
        presence_ttl: Duration::from_secs(10),
    }
}

fn service(id: &str, name: &str, port: i32) -> ServiceDef {
    ServiceDef { port, ..ServiceDef::new(id, name) }
}

impl Bed {
    fn empty(config: &Config) -> Bed {
        let zone = Arc::new(config.zone().unwrap());
        let cluster = Cluster::solo(NodeName::new("n1").unwrap());
        Bed { cluster, answerer: Answerer::new(zone), rng: SmallRng::seed_from_u64(7) }
    }

    /// Nodes `foo` and `bar` with one instance of `web` each, tagged `v1` and `v1.2`.
    async fn new(config: &Config) -> Bed {
        let bed = Bed::empty(config);
        bed.node("foo", "10.0.0.1").await;
        bed.node("bar", "10.0.0.2").await;
        for (at, tag, port) in [("foo", "v1", 8080), ("bar", "v1.2", 8081)] {
            let mut def = service("web", "web", port);
            def.tags = vec![tag.into()];
            bed.instance(at, def).await;
        }
        bed
    }

    async fn ops(&self, ops: Vec<CatalogOp>) {
        let outcome = self.cluster.propose(Command::Catalog(ops)).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
    }

    async fn node(&self, name: &str, address: &str) {
        self.ops(vec![CatalogOp::PutNode(node(name, address))]).await;
    }

    async fn instance(&self, node: &str, def: ServiceDef) {
        let node = Folded::new(node);
        self.ops(vec![CatalogOp::PutInstance { node, def, source: Source::Catalog }]).await;
    }

    async fn health(&self, node: &str, id: &str, status: Health) {
        let mut def = CheckDef::new(&format!("check-{id}"), "check", CheckKind::Static);
        def.service_id = (!id.is_empty()).then(|| id.into());
        let (node, output, source) = (Folded::new(node), String::new(), Source::Catalog);
        self.ops(vec![CatalogOp::PutCheck { node, def, status, output, source }]).await;
    }

    async fn query(&self, def: QueryDef) {
        let put = Command::QueryPut { def, new: true };
        self.cluster.propose(put).await.unwrap();
    }

    fn raw(&mut self, packet: &[u8], channel: Channel) -> (Verdict, Vec<u8>) {
        let state = self.cluster.snapshot();
        let mut out = vec![1, 2, 3];
        let knowledge = Knowledge::Current(&state);
        let verdict = self.answerer.answer(packet, knowledge, channel, &mut self.rng, &mut out);
        (verdict, out)
    }

    fn ask_by(&mut self, packet: &[u8], channel: Channel) -> Reply {
        let (verdict, out) = self.raw(packet, channel);
        assert_ne!(verdict, Verdict::Silent);
        Reply { message: Message::from_vec(&out).unwrap(), size: out.len() }
    }

    /// Over UDP, with an EDNS size that anything fits in.
    fn ask(&mut self, name: &str, rtype: RecordType) -> Reply {
        self.ask_by(&query(name, rtype, Some(65_000)), UDP)
    }
}

fn query(name: &str, rtype: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

struct Reply {
    message: Message,
    size: usize,
}

fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(Record::to_string).collect();
    lines.sort();
    lines
}

impl Reply {
    fn rcode(&self) -> String {
        format!("{:?}", self.message.metadata.response_code)
    }

    fn answers(&self) -> Vec<String> {
        lines(&self.message.answers)
    }

    fn authorities(&self) -> Vec<String> {
        lines(&self.message.authorities)
    }

    fn additionals(&self) -> Vec<String> {
        lines(&self.message.additionals)
    }

    /// No such name, and the SOA that says for how long.
    fn assert_absent(&self) {
        assert_eq!(self.rcode(), "NXDomain");
        self.assert_soa_only();
    }

    /// The name is there, the type is not.
    fn assert_no_data(&self) {
        assert_eq!(self.rcode(), "NoError");
        self.assert_soa_only();
    }

    fn assert_soa_only(&self) {
        assert!(self.message.answers.is_empty(), "{:?}", self.answers());
        assert!(self.message.metadata.authoritative);
        let [soa] = self.message.authorities.as_slice() else {
            panic!("{:?}", self.authorities());
        };
        assert_eq!(soa.record_type(), RecordType::SOA);
        let owner = &soa.name;
        assert!(owner.zone_of(&self.message.queries[0].name), "{owner}");
    }
}

fn weighing(passing: u16, warning: u16) -> Weights {
    Weights { passing, warning }
}

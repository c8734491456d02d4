//! What is kept of answers is never told once it is no longer true.

use proptest::prelude::*;

use crate::model::QueryId;
use crate::state::QueryTarget;

use super::*;

const NODES: [&str; 3] = ["a", "b", "c"];
const SERVICES: [&str; 4] = ["web", "Web2", "db", "x.y"];
const NAMES: [&str; 9] = [
    "web.service.consul.",
    "web2.service.consul.",
    "WEB2.service.consul.",
    "v1.db.service.consul.",
    "db.service.consul.",
    "_x._tcp.service.consul.",
    "a.node.consul.",
    "q.query.consul.",
    "nothing.service.consul.",
];

#[derive(Debug, Clone)]
enum Step {
    Put { node: usize, service: usize, port: i32 },
    Health { node: usize, service: Option<usize>, status: Health },
    Node { node: usize, last: u8 },
    Remove { node: usize, service: usize },
    RemoveNode { node: usize },
    Query { service: usize },
    Ask { name: usize, rtype: RecordType },
}

fn step() -> impl Strategy<Value = Step> {
    let (node, service) = (0..NODES.len(), 0..SERVICES.len());
    let health = prop_oneof![Just(Health::Passing), Just(Health::Warning), Just(Health::Critical)];
    let rtype = prop_oneof![Just(RecordType::A), Just(RecordType::SRV)];
    prop_oneof![
        4 => (node.clone(), service.clone(), 1..4)
            .prop_map(|(node, service, port)| Step::Put { node, service, port }),
        3 => (node.clone(), proptest::option::of(service.clone()), health)
            .prop_map(|(node, service, status)| Step::Health { node, service, status }),
        2 => (node.clone(), 1..4_u8).prop_map(|(node, last)| Step::Node { node, last }),
        1 => (node.clone(), service.clone())
            .prop_map(|(node, service)| Step::Remove { node, service }),
        1 => node.prop_map(|node| Step::RemoveNode { node }),
        1 => service.prop_map(|service| Step::Query { service }),
        8 => (0..NAMES.len(), rtype).prop_map(|(name, rtype)| Step::Ask { name, rtype }),
    ]
}

impl Bed {
    /// Perhaps refused: of a node that is not there, for example.
    async fn change(&self, step: Step) {
        let at = |node: usize| Folded::new(NODES[node]);
        let source = Source::Catalog;
        let op = match step {
            Step::Put { node, service: which, port } => {
                let mut def = service(SERVICES[which], SERVICES[which], port);
                def.tags = if port == 1 { vec![] } else { vec!["v1".into()] };
                CatalogOp::PutInstance { node: at(node), def, source }
            }
            Step::Health { node, service, status } => {
                let id = service.map(|which| SERVICES[which]);
                let name = format!("check-{}", id.unwrap_or_default());
                let mut def = CheckDef::new(&name, "check", CheckKind::Static);
                def.service_id = id.map(Into::into);
                CatalogOp::PutCheck { node: at(node), def, status, output: String::new(), source }
            }
            Step::Node { node: which, last } => {
                CatalogOp::PutNode(node(NODES[which], &format!("10.0.0.{last}")))
            }
            Step::Remove { node, service } => {
                CatalogOp::RemoveInstance { node: at(node), id: SERVICES[service].into() }
            }
            Step::RemoveNode { node } => CatalogOp::RemoveNode(at(node)),
            Step::Query { service } => {
                let def = QueryDef {
                    id: QueryId(1),
                    name: "q".to_owned(),
                    session: None,
                    token: String::new(),
                    template: Default::default(),
                    target: QueryTarget { service: SERVICES[service].into(), ..Default::default() },
                    ttl: None,
                    ttl_text: String::new(),
                };
                let put = Command::QueryPut { def, new: false };
                self.cluster.propose(put).await.unwrap();
                return;
            }
            Step::Ask { .. } => return,
        };
        self.cluster.propose(Command::Catalog(vec![op])).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn it_answers_as_one_that_keeps_nothing(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = Config::default();
            let mut bed = Bed::new(&config).await;
            let mut kept = Answerer::new(Arc::new(config.zone().unwrap()));
            for step in steps {
                if let Step::Ask { name, rtype } = step {
                    let fresh = Answerer::new(Arc::new(config.zone().unwrap()));
                    bed.answerer = fresh;
                    let want = bed.ask(NAMES[name], rtype);
                    std::mem::swap(&mut bed.answerer, &mut kept);
                    let got = bed.ask(NAMES[name], rtype);
                    std::mem::swap(&mut bed.answerer, &mut kept);
                    prop_assert_eq!(got.rcode(), want.rcode());
                    prop_assert_eq!(got.answers(), want.answers());
                    prop_assert_eq!(got.additionals(), want.additionals());
                } else {
                    bed.change(step).await;
                }
            }
            Ok(())
        })?;
    }
}

//! Every form of name, asked in every way that matters: `forms.txt` holds questions and answers.

use hickory_proto::op::ResponseCode;

use super::*;
use crate::model::QueryId;
use crate::state::{QueryTarget, QueryTemplate};

/// The questions, each with the answer that is due.
const FORMS: &str = include_str!("forms.txt");

fn weighted(mut def: ServiceDef, passing: u16, warning: u16) -> ServiceDef {
    def.weights = weighing(passing, warning);
    def
}

fn at(mut def: ServiceDef, address: &str) -> ServiceDef {
    def.address = address.into();
    def
}

fn tagged(mut def: ServiceDef, tags: &[&str]) -> ServiceDef {
    def.tags = tags.iter().map(|tag| (*tag).into()).collect();
    def
}

async fn bed() -> Bed {
    let config = Config {
        node_ttl: Duration::from_secs(30),
        service_ttl: vec![("web".to_owned(), Duration::from_secs(10))],
        soa: crate::dns::Soa { min_ttl: 60, ..Default::default() },
        forward: super::super::Forward::System,
        weight_scale: 256,
        domains: vec!["consul".to_owned(), "corp.test".to_owned()],
        ..Config::default()
    };
    let bed = Bed::empty(&config);
    for (name, address) in [
        ("n1", "10.0.0.100"),
        ("foo", "10.0.0.1"),
        ("bar", "10.0.0.2"),
        ("baz", "10.0.0.3"),
        ("six", "fd00::6"),
        ("named", "www.example.com"),
        ("a.dotted.node", "10.0.0.8"),
        ("UPPER", "10.0.0.9"),
    ] {
        let mut def = node(name, address);
        if name == "foo" {
            def.meta.insert("key".to_owned(), "value".to_owned());
            def.meta.insert("rfc1035-raw".to_owned(), "v=spf1 x".to_owned());
            def.meta.insert("a=b".to_owned(), "c".to_owned());
        }
        bed.ops(vec![CatalogOp::PutNode(def)]).await;
    }
    for (node, def) in [
        ("foo", tagged(service("web", "web", 8080), &["v1", "Primary", "a.b"])),
        ("bar", tagged(service("web", "web", 8081), &["v2"])),
        ("baz", tagged(service("web", "web", 8082), &["v1"])),
        ("foo", weighted(at(service("ip", "withip", 90), "10.9.8.7"), 9, 3)),
        ("foo", at(service("ip6", "withip6", 91), "fd00::99")),
        ("foo", at(service("out", "outside", 92), "other.example.com")),
        ("foo", at(service("in", "inside", 93), "bar.node.consul")),
        ("foo", at(service("of", "ofweb", 94), "web.service.consul")),
        ("foo", at(service("loop", "loop", 95), "loop.service.consul")),
        ("six", service("six", "six", 96)),
        ("foo", service("m4", "mixed", 97)),
        ("six", service("m6", "mixed", 98)),
        ("named", service("on", "onnamed", 99)),
        ("foo", service("sick", "sick", 1)),
        ("foo", tagged(service("under", "under_score", 2), &["_tag"])),
        ("foo", service("up", "UpperSvc", 3)),
        ("bar", service("dup-1", "dup", 4)),
        ("bar", service("dup-2", "dup", 4)),
    ] {
        bed.instance(node, def).await;
    }
    for (id, name, prefix, only_passing, ttl) in [
        (1, "Plain", false, false, None),
        (2, "pass", false, true, Some(Duration::from_secs(90))),
        (3, "dot.ted", false, false, None),
        (4, "tpl-", true, false, None),
        (5, "none", false, false, None),
    ] {
        let service = match (prefix, name) {
            (true, _) => "${name.suffix}",
            (_, "none") => "nope",
            _ => "web",
        };
        let target =
            QueryTarget { service: service.to_owned(), only_passing, ..Default::default() };
        let template = QueryTemplate { is_set: prefix, ..Default::default() };
        let def = QueryDef {
            id: QueryId(id),
            name: name.to_owned(),
            session: None,
            token: String::new(),
            template,
            target,
            ttl,
            ttl_text: String::new(),
        };
        bed.query(def).await;
    }
    bed.health("bar", "web", Health::Warning).await;
    bed.health("baz", "web", Health::Critical).await;
    bed.health("foo", "ip", Health::Warning).await;
    bed.health("foo", "sick", Health::Critical).await;
    bed
}

/// `NAME TYPE [+tcp] [+noedns] [+remote] [+norecurse] [+class=N]`: the packet and its way.
fn asked(line: &str) -> (Vec<u8>, Channel) {
    let mut words = line.split(' ');
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let (mut edns, mut channel, mut recurse, mut class) = (Some(4096), UDP, true, 1);
    for word in words {
        match word {
            "+tcp" => channel = Channel::Tcp,
            "+remote" => channel = Channel::Udp { most: 1232 },
            "+noedns" => edns = None,
            "+norecurse" => recurse = false,
            other => class = other.strip_prefix("+class=").unwrap().parse().unwrap(),
        }
    }
    let kind: RecordType = match kind.strip_prefix("TYPE") {
        Some(number) => number.parse::<u16>().unwrap().into(),
        None => kind.parse().unwrap(),
    };
    let mut packet = query(name, kind, edns);
    packet[2] = u8::from(recurse);
    let class_at = 12 + packet[12..].iter().position(|byte| *byte == 0).unwrap() + 3;
    packet[class_at..class_at + 2].copy_from_slice(&u16::to_be_bytes(class));
    (packet, channel)
}

/// Flags, then each section's records, sorted; the serial is masked.
fn told(verdict: Verdict, out: &[u8], serial: u64) -> String {
    let message = Message::from_vec(out).unwrap();
    let head = &message.metadata;
    let flags = [
        (head.authoritative, " aa"),
        (head.truncation, " tc"),
        (head.recursion_desired, " rd"),
        (head.recursion_available, " ra"),
        (message.edns.is_some(), " edns"),
        (matches!(verdict, Verdict::Forward { .. }), " and asks elsewhere"),
        (matches!(verdict, Verdict::Outside { .. }), " and adds what others know"),
    ];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, text)| *text).collect();
    let rcode = match head.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotImp => "NOTIMP",
        other => panic!("{other}"),
    };
    let mut text = format!("{rcode}{flags}\n");
    for (section, records) in [
        ("", &message.answers),
        ("authority ", &message.authorities),
        ("additional ", &message.additionals),
    ] {
        for line in lines(records) {
            text.push_str(section);
            text.push_str(&line.replace(&format!(" {serial} "), " SERIAL "));
            text.push('\n');
        }
    }
    text
}

#[tokio::test]
async fn each_is_answered_as_written_down() {
    let mut bed = bed().await;
    let serial = bed.cluster.snapshot().index();
    let mut wrong = String::new();
    let mut count = 0;
    for block in FORMS.split("? ").skip(1) {
        let (question, want) = block.split_once('\n').unwrap();
        let (packet, channel) = asked(question);
        // The second time it may come from what is kept.
        for _ in 0..2 {
            let (verdict, out) = bed.raw(&packet, channel);
            let got = told(verdict, &out, serial);
            if got.trim() != want.trim() {
                wrong.push_str(&format!("? {question}\n{got}\n"));
                break;
            }
        }
        count += 1;
    }
    assert!(count > 150, "{count} questions");
    assert!(wrong.is_empty(), "these are answered otherwise:\n{wrong}");
}

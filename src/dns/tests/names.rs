//! Every form of name, every type: what is answered, and what is not.

use std::collections::BTreeSet;

use hickory_proto::rr::RecordType::{A, AAAA, ANY, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::rdata::opt::EdnsCode;

use super::*;
use crate::model::QueryId;
use crate::state::{QueryTarget, QueryTemplate};

async fn bed() -> Bed {
    Bed::new(&Config::default()).await
}

#[tokio::test]
async fn a_service_has_the_addresses_of_its_nodes() {
    let mut bed = bed().await;
    for name in ["web.service.consul.", "web.service.dc1.consul.", "web.service.dc1.dc.consul."] {
        let reply = bed.ask(name, A);
        assert_eq!(reply.rcode(), "NoError");
        assert!(reply.message.metadata.authoritative);
        assert!(reply.message.metadata.recursion_desired);
        assert!(!reply.message.metadata.recursion_available);
        let want = [format!("{name} 0 IN A 10.0.0.1"), format!("{name} 0 IN A 10.0.0.2")];
        assert_eq!(reply.answers(), want);
        assert_eq!(bed.ask(name, ANY).answers(), want);
        bed.ask(name, AAAA).assert_no_data();
        bed.ask(name, TXT).assert_no_data();
        bed.ask(name, MX).assert_no_data();
        bed.ask(name, NS).assert_no_data();
        bed.ask(name, SOA).assert_no_data();
    }
}

#[tokio::test]
async fn an_srv_answer_brings_its_targets_addresses() {
    let mut bed = bed().await;
    for name in ["web.service.remora.", "_web._tcp.service.remora.", "_web._tcp.remora."] {
        let reply = bed.ask(name, SRV);
        assert_eq!(
            reply.answers(),
            [
                format!("{name} 0 IN SRV 1 1 8080 foo.node.dc1.remora."),
                format!("{name} 0 IN SRV 1 1 8081 bar.node.dc1.remora."),
            ]
        );
        assert_eq!(
            reply.additionals(),
            ["bar.node.dc1.remora. 0 IN A 10.0.0.2", "foo.node.dc1.remora. 0 IN A 10.0.0.1"]
        );
    }
    let tagged = bed.ask("_web._V1.service.consul.", SRV);
    assert_eq!(
        tagged.answers(),
        ["_web._V1.service.consul. 0 IN SRV 1 1 8080 foo.node.dc1.consul."]
    );
    assert_eq!(bed.ask("_web._tcp.service.consul.", A).answers().len(), 2);
    bed.ask("_web._tcp.consul.", A).assert_no_data();
    bed.ask("_nope._tcp.consul.", SRV).assert_absent();
}

#[tokio::test]
async fn tags_select_and_may_have_dots() {
    let mut bed = bed().await;
    let reply = bed.ask("v1.2.web.service.consul.", A);
    assert_eq!(reply.answers(), ["v1.2.web.service.consul. 0 IN A 10.0.0.2"]);
    assert_eq!(bed.ask("V1.web.service.consul.", A).answers().len(), 1);
    bed.ask("v3.web.service.consul.", A).assert_absent();
    // Part of a dotted tag: nothing itself, but something below.
    bed.ask("2.web.service.consul.", A).assert_no_data();
}

#[tokio::test]
async fn names_keep_the_case_they_were_asked_in() {
    let mut bed = bed().await;
    let reply = bed.ask("wEb.SERVICE.Consul.", SRV);
    assert_eq!(reply.message.queries[0].name.to_ascii(), "wEb.SERVICE.Consul.");
    assert_eq!(reply.message.answers[0].name.to_ascii(), "wEb.SERVICE.Consul.");
    let targets = reply.answers().concat();
    assert!(targets.contains("foo.node.dc1.consul."), "{targets}");
    bed.ask("nope.SERVICE.Consul.", A).assert_absent();
}

#[tokio::test]
async fn unknown_names_are_absent_and_names_above_are_not() {
    let mut bed = bed().await;
    bed.node("a.b.c", "10.0.0.3").await;
    for name in [
        "nope.service.consul.",
        "nope.node.consul.",
        "nope.consul.",
        "web.service.dc2.consul.",
        "web.connect.consul.",
        "q.query.consul.",
        "0a0000zz.addr.consul.",
        "0a00.addr.consul.",
        "x.ns.consul.",
    ] {
        for rtype in [A, SRV, TXT, MX] {
            bed.ask(name, rtype).assert_absent();
        }
    }
    for name in [
        "consul.",
        "service.consul.",
        "node.consul.",
        "addr.consul.",
        "dc1.consul.",
        "dc.consul.",
        "dc1.dc.consul.",
        "service.dc1.consul.",
        "_tcp.consul.",
        "_tcp.service.consul.",
        "c.node.consul.",
        "b.c.node.dc1.consul.",
    ] {
        bed.ask(name, A).assert_no_data();
        bed.ask(name, SRV).assert_no_data();
    }
    assert_eq!(bed.ask("A.b.c.node.consul.", A).answers(), ["A.b.c.node.consul. 0 IN A 10.0.0.3"]);
}

#[tokio::test]
async fn nodes_are_answered_whatever_their_health() {
    let mut bed = bed().await;
    let mut def = node("six", "fd00::6");
    def.meta.insert("key".to_owned(), "value".to_owned());
    def.meta.insert("rfc1035-spf".to_owned(), "v=spf1 x".to_owned());
    def.meta.insert("long".to_owned(), "x".repeat(300));
    bed.ops(vec![CatalogOp::PutNode(def)]).await;
    bed.health("foo", "", Health::Critical).await;
    assert_eq!(bed.ask("foo.node.consul.", A).answers(), ["foo.node.consul. 0 IN A 10.0.0.1"]);
    bed.ask("foo.node.consul.", AAAA).assert_no_data();
    bed.ask("foo.node.consul.", TXT).assert_no_data();
    bed.ask("six.node.consul.", A).assert_no_data();
    let reply = bed.ask("six.node.consul.", AAAA);
    assert_eq!(reply.answers(), ["six.node.consul. 0 IN AAAA fd00::6"]);
    assert_eq!(reply.additionals().len(), 3);
    let texts = bed.ask("six.node.consul.", TXT).answers();
    assert_eq!(texts.len(), 3);
    assert!(texts.contains(&"six.node.consul. 0 IN TXT key=value".to_owned()), "{texts:?}");
    assert!(texts.contains(&"six.node.consul. 0 IN TXT v=spf1 x".to_owned()), "{texts:?}");
}

#[tokio::test]
async fn an_address_is_its_own_name() {
    let mut bed = bed().await;
    let reply = bed.ask("0A000001.addr.dc1.consul.", A);
    assert_eq!(reply.answers(), ["0A000001.addr.dc1.consul. 0 IN A 10.0.0.1"]);
    bed.ask("0a000001.addr.consul.", AAAA).assert_no_data();
    let six = "fd000000000000000000000000000099.addr.consul.";
    assert_eq!(bed.ask(six, AAAA).answers(), [format!("{six} 0 IN AAAA fd00::99")]);
}

#[tokio::test]
async fn an_instance_with_its_own_address_is_named_by_it() {
    let mut bed = bed().await;
    let mut def = service("db", "db", 90);
    def.address = "10.9.8.7".into();
    bed.instance("foo", def).await;
    let reply = bed.ask("db.service.consul.", SRV);
    assert_eq!(reply.answers(), ["db.service.consul. 0 IN SRV 1 1 90 0a090807.addr.dc1.consul."]);
    assert_eq!(reply.additionals(), ["0a090807.addr.dc1.consul. 0 IN A 10.9.8.7"]);
}

#[tokio::test]
async fn host_names_are_aliases_only_where_nothing_has_an_address() {
    let mut bed = bed().await;
    for (id, address) in [("a", "www.example.com"), ("b", "foo.node.consul")] {
        let mut def = service(id, &format!("alias-{id}"), 80);
        def.address = address.into();
        bed.instance("foo", def).await;
    }
    let outside = bed.ask("alias-a.service.consul.", A);
    assert_eq!(outside.answers(), ["alias-a.service.consul. 0 IN CNAME www.example.com."]);
    let outside = bed.ask("alias-a.service.consul.", SRV);
    assert_eq!(outside.answers(), ["alias-a.service.consul. 0 IN SRV 1 1 80 www.example.com."]);
    assert!(outside.additionals().is_empty());
    let inside = bed.ask("alias-b.service.consul.", A);
    assert_eq!(
        inside.answers(),
        ["alias-b.service.consul. 0 IN CNAME foo.node.consul.", "foo.node.consul. 0 IN A 10.0.0.1"]
    );
    let inside = bed.ask("alias-b.service.consul.", SRV);
    assert_eq!(inside.additionals(), ["foo.node.consul. 0 IN A 10.0.0.1"]);

    let mut def = service("c", "alias-a", 80);
    def.address = "10.1.1.1".into();
    bed.instance("bar", def).await;
    let mixed = bed.ask("alias-a.service.consul.", A);
    assert_eq!(mixed.answers(), ["alias-a.service.consul. 0 IN A 10.1.1.1"]);
    bed.ask("alias-a.service.consul.", AAAA).assert_no_data();
    bed.ask("alias-a.service.consul.", CNAME).assert_no_data();
    let alias = bed.ask("alias-b.service.consul.", CNAME);
    assert_eq!(alias.answers(), ["alias-b.service.consul. 0 IN CNAME foo.node.consul."]);
}

#[tokio::test]
async fn a_service_that_names_itself_falls_back_to_its_node() {
    let mut bed = bed().await;
    let mut def = service("me", "me", 80);
    def.address = "me.service.consul".into();
    bed.instance("foo", def).await;
    assert_eq!(bed.ask("me.service.consul.", A).answers(), ["me.service.consul. 0 IN A 10.0.0.1"]);
    let srv = bed.ask("me.service.consul.", SRV);
    assert_eq!(srv.answers(), ["me.service.consul. 0 IN SRV 1 1 80 foo.node.dc1.consul."]);
}

#[tokio::test]
async fn aliases_that_turn_in_a_circle_end() {
    let mut bed = bed().await;
    for (name, address) in [("x", "y.service.consul"), ("y", "x.service.consul")] {
        let mut def = service(name, name, 80);
        def.address = address.into();
        bed.instance("foo", def).await;
    }
    let reply = bed.ask("x.service.consul.", A);
    assert_eq!(reply.answers(), ["x.service.consul. 0 IN CNAME y.service.consul."]);
}

#[tokio::test]
async fn a_node_name_that_dns_cannot_carry_becomes_an_address() {
    let mut bed = bed().await;
    let long = "n".repeat(64);
    bed.node(&long, "10.0.0.9").await;
    bed.instance(&long, service("l", "long", 80)).await;
    let reply = bed.ask("long.service.consul.", SRV);
    assert_eq!(reply.answers(), ["long.service.consul. 0 IN SRV 1 1 80 0a000009.addr.dc1.consul."]);
}

#[tokio::test]
async fn only_the_healthy_are_answered() {
    let mut bed = bed().await;
    bed.health("foo", "web", Health::Warning).await;
    assert_eq!(bed.ask("web.service.consul.", A).answers().len(), 2);
    let strict = Config { only_passing: true, ..Config::default() };
    let zone = Arc::new(strict.zone().unwrap());
    let loose = std::mem::replace(&mut bed.answerer, Answerer::new(zone));
    assert_eq!(bed.ask("web.service.consul.", A).answers().len(), 1);
    bed.answerer = loose;
    bed.health("foo", "web", Health::Critical).await;
    assert_eq!(
        bed.ask("web.service.consul.", A).answers(),
        ["web.service.consul. 0 IN A 10.0.0.2"]
    );
    bed.health("bar", "", Health::Critical).await;
    bed.ask("web.service.consul.", A).assert_absent();
    bed.ask("2.web.service.consul.", A).assert_absent();
    bed.health("bar", "", Health::Passing).await;
    assert_eq!(bed.ask("web.service.consul.", A).answers().len(), 1);
}

#[tokio::test]
async fn what_is_kept_follows_every_change() {
    let mut bed = bed().await;
    let srv = |bed: &mut Bed| bed.ask("web.service.consul.", SRV).answers().concat();
    assert!(srv(&mut bed).contains(" 8080 "));
    bed.instance("foo", service("web", "web", 9999)).await;
    assert!(srv(&mut bed).contains(" 9999 "));
    bed.node("foo", "10.0.0.77").await;
    let reply = bed.ask("web.service.consul.", SRV);
    assert!(reply.additionals().concat().contains("10.0.0.77"));
    let mut def = node("foo", "10.0.0.77");
    def.meta.insert("k".to_owned(), "v".to_owned());
    bed.ops(vec![CatalogOp::PutNode(def)]).await;
    assert!(bed.ask("web.service.consul.", SRV).additionals().concat().contains("k=v"));
    bed.ops(vec![CatalogOp::RemoveNode(Folded::new("foo"))]).await;
    assert_eq!(bed.ask("web.service.consul.", SRV).answers().len(), 1);
    // An unrelated change leaves it as it is.
    bed.node("other", "10.1.0.1").await;
    assert_eq!(bed.ask("web.service.consul.", SRV).answers().len(), 1);
}

#[tokio::test]
async fn what_is_kept_of_a_query_follows_the_query() {
    let mut bed = bed().await;
    let def = |seconds| QueryDef {
        id: QueryId(1),
        name: "q".to_owned(),
        session: None,
        token: String::new(),
        template: QueryTemplate::default(),
        target: QueryTarget { service: "web".to_owned(), ..Default::default() },
        ttl: Some(Duration::from_secs(seconds)),
        ttl_text: String::new(),
    };
    let ttl = |bed: &mut Bed| bed.ask("q.query.consul.", A).message.answers[0].ttl;
    bed.query(def(5)).await;
    assert_eq!(ttl(&mut bed), 5);
    bed.cluster.propose(Command::QueryPut { def: def(7), new: false }).await.unwrap();
    assert_eq!(ttl(&mut bed), 7);
    bed.cluster.propose(Command::QueryDelete(QueryId(1))).await.unwrap();
    bed.ask("q.query.consul.", A).assert_absent();
}

#[tokio::test]
async fn the_apex_has_soa_and_ns_and_nothing_else_has() {
    let mut bed = bed().await;
    bed.node("n1", "10.0.0.8").await;
    let soa = bed.ask("consul.", SOA);
    let index = bed.cluster.snapshot().index();
    assert_eq!(
        soa.answers(),
        [format!("consul. 0 IN SOA ns.consul. hostmaster.consul. {index} 3600 600 86400 0")]
    );
    assert_eq!(soa.authorities(), ["consul. 0 IN NS n1.node.dc1.consul."]);
    assert_eq!(soa.additionals(), ["n1.node.dc1.consul. 0 IN A 10.0.0.8"]);
    let ns = bed.ask("remora.", NS);
    assert_eq!(ns.answers(), ["remora. 0 IN NS n1.node.dc1.remora."]);
    assert_eq!(ns.additionals(), ["n1.node.dc1.remora. 0 IN A 10.0.0.8"]);
    assert_eq!(bed.ask("ns.consul.", A).answers(), ["ns.consul. 0 IN A 10.0.0.8"]);
    bed.ask("ns.consul.", TXT).assert_no_data();
}

#[tokio::test]
async fn addresses_are_turned_round() {
    let mut bed = bed().await;
    let reply = bed.ask("1.0.0.10.in-addr.arpa.", PTR);
    assert_eq!(reply.answers(), ["1.0.0.10.in-addr.arpa. 0 IN PTR foo.node.dc1.remora."]);
    let mut def = service("db", "db", 90);
    def.address = "fd00::99".into();
    bed.instance("foo", def).await;
    let nibbles = format!("9.9.{}0.0.d.f.ip6.arpa.", "0.".repeat(26));
    let reply = bed.ask(&nibbles, PTR);
    assert_eq!(reply.answers(), [format!("{nibbles} 0 IN PTR db.service.dc1.remora.")]);
    let other = bed.ask("1.0.0.10.in-addr.arpa.", A);
    assert_eq!((other.rcode().as_str(), other.answers().len()), ("NoError", 0));
    assert_eq!(bed.ask("9.9.9.9.in-addr.arpa.", PTR).rcode(), "Refused");
}

#[tokio::test]
async fn times_to_live_follow_the_most_exact_pattern() {
    let ttl = |pattern: &str, seconds| (pattern.to_owned(), Duration::from_secs(seconds));
    let config = Config {
        node_ttl: Duration::from_secs(9),
        service_ttl: vec![ttl("*", 1), ttl("w*", 2), ttl("we*", 3), ttl("web", 4)],
        ..Config::default()
    };
    let mut bed = Bed::new(&config).await;
    for (name, want) in [("web", 4), ("wex", 3), ("wax", 2), ("db", 1)] {
        bed.instance("foo", service(name, name, 1)).await;
        let reply = bed.ask(&format!("{name}.service.consul."), SRV);
        assert_eq!(reply.message.answers[0].ttl, want, "{name}");
        assert_eq!(reply.message.additionals[0].ttl, want, "{name}");
    }
    assert_eq!(bed.ask("foo.node.consul.", A).message.answers[0].ttl, 9);
}

#[tokio::test]
async fn the_order_is_random_and_follows_the_weights() {
    let mut bed = bed().await;
    let mut firsts = BTreeSet::new();
    for _ in 0..50 {
        let reply = bed.ask("web.service.consul.", A);
        firsts.insert(reply.message.answers[0].to_string());
    }
    assert_eq!(firsts.len(), 2);
    for (node, weights) in [("foo", weighing(9, 1)), ("bar", weighing(1, 1))] {
        let mut def = service("heavy", "heavy", 80);
        def.weights = weights;
        bed.instance(node, def).await;
    }
    let mut heavy = 0;
    for _ in 0..1000 {
        let reply = bed.ask("heavy.service.consul.", A);
        assert_eq!(reply.message.answers.len(), 2);
        heavy += usize::from(reply.message.answers[0].to_string().ends_with("10.0.0.1"));
    }
    assert!((860..940).contains(&heavy), "{heavy} of 1000, 900 expected");
    bed.health("foo", "heavy", Health::Warning).await;
    let srv = bed.ask("heavy.service.consul.", SRV).answers().concat();
    assert!(srv.contains("SRV 1 1 80 foo"), "{srv}");
}

#[tokio::test]
async fn instances_at_one_address_weigh_together() {
    let mut bed = bed().await;
    for id in ["web-2", "web-3"] {
        bed.instance("foo", service(id, "web", 9)).await;
    }
    let mut first = 0;
    for _ in 0..1000 {
        let reply = bed.ask("web.service.consul.", A);
        first += usize::from(reply.message.answers[0].to_string().ends_with("10.0.0.1"));
    }
    assert!((690..810).contains(&first), "{first} of 1000, 750 expected");
}

#[tokio::test]
async fn a_target_has_its_address_whoever_else_is_on_its_node() {
    let mut bed = bed().await;
    let mut def = node("foo", "10.0.0.1");
    def.meta.insert("k".to_owned(), "v".to_owned());
    bed.ops(vec![CatalogOp::PutNode(def)]).await;
    let def = ServiceDef { address: "10.9.9.9".into(), ..service("web-2", "web", 9) };
    bed.instance("foo", def).await;
    // The order is another each time, and each of them asks for the node's texts.
    for _ in 0..20 {
        let additionals = bed.ask("web.service.consul.", SRV).additionals();
        assert_eq!(additionals.len(), 4, "{additionals:?}");
        let address = "foo.node.dc1.consul. 0 IN A 10.0.0.1".to_owned();
        assert!(additionals.contains(&address), "{additionals:?}");
    }
}

#[tokio::test]
async fn equal_records_are_given_once() {
    let mut bed = bed().await;
    bed.instance("foo", service("web-2", "web", 8080)).await;
    bed.instance("foo", service("web-3", "web", 8090)).await;
    assert_eq!(bed.ask("web.service.consul.", A).answers().len(), 2);
    let reply = bed.ask("web.service.consul.", SRV);
    assert_eq!(reply.answers().len(), 3);
    assert_eq!(reply.additionals().len(), 2);
}

#[tokio::test]
async fn what_is_not_known_is_never_said_to_be_absent() {
    let mut bed = bed().await;
    let state = bed.cluster.snapshot();
    let extended = |message: &Message| {
        let edns = message.edns.as_ref().unwrap();
        let option = edns.option(EdnsCode::Unknown(15));
        option.map(|option| Vec::<u8>::try_from(option).unwrap())
    };
    for (knowledge, rcode, code) in [
        (Knowledge::Nothing, "ServFail", Some(14)),
        (Knowledge::Expired, "ServFail", Some(22)),
        (Knowledge::Stale(&state), "NoError", Some(3)),
        (Knowledge::Current(&state), "NoError", None),
    ] {
        for name in ["web.service.consul.", "1.0.0.10.in-addr.arpa."] {
            let packet = query(name, ANY, Some(1232));
            let mut out = Vec::new();
            bed.answerer.answer(&packet, knowledge, UDP, &mut bed.rng, &mut out);
            let message = Message::from_vec(&out).unwrap();
            assert_eq!(format!("{:?}", message.metadata.response_code), rcode);
            assert_eq!(extended(&message), code.map(|code| vec![0, code]), "{name}");
        }
        // Without EDNS there is no place for it.
        let packet = query("web.service.consul.", A, None);
        let mut out = Vec::new();
        bed.answerer.answer(&packet, knowledge, UDP, &mut bed.rng, &mut out);
        assert!(Message::from_vec(&out).unwrap().edns.is_none());
    }
}

#[tokio::test]
async fn names_of_others_are_refused_or_handed_on() {
    let mut bed = bed().await;
    assert_eq!(bed.ask("example.com.", A).rcode(), "Refused");
    assert_eq!(bed.ask("notconsul.", A).rcode(), "Refused");
    assert_eq!(bed.ask(".", NS).rcode(), "Refused");
    let config = Config { forward: super::super::Forward::System, ..Config::default() };
    bed.answerer = Answerer::new(Arc::new(config.zone().unwrap()));
    let mut packet = query("example.com.", A, None);
    assert_eq!(bed.raw(&packet, UDP).0, Verdict::Forward { qtype: 1 });
    packet[2] &= 0xfe;
    assert_eq!(bed.ask_by(&packet, UDP).rcode(), "Refused");
    assert!(bed.ask("web.service.consul.", A).message.metadata.recursion_available);
}

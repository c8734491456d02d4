//! While tokens count: what DNS shows, and what it refuses whether it is there or not.

use hickory_proto::rr::RecordType::{A, NS, PTR, SOA, SRV, TXT};

use crate::access::{
    ANONYMOUS, AclCommand as C, AclTokenPut, DefaultPolicy, Links, PolicyPut, SecretId,
};
use crate::cluster::OwnToken;
use crate::model::{AclId, QueryId};
use crate::state::{QueryTarget, QueryTemplate};

use super::serving::{framed, over_udp, read, started};
use super::*;

const SECRET: &str = "00000007-2222-3333-4444-555555555555";

impl Bed {
    async fn acl(&self, command: C) {
        let outcome = self.cluster.propose(Command::Acl(command)).await;
        assert!(matches!(outcome, Ok(Outcome::Done | Outcome::Acl(_))), "{outcome:?}");
    }

    /// Tokens count, and `SECRET` is one with these rules.
    async fn close(&self, default: DefaultPolicy, rules: &str) {
        self.acl(C::Enable { default, created: 0 }).await;
        self.rules(true, rules).await;
        self.token(AclId(71), Some(SecretId::Open(SECRET.into()))).await;
    }

    /// One that permits what `rules` say.
    async fn token(&self, accessor: AclId, secret: Option<SecretId>) {
        self.acl(C::TokenPut(AclTokenPut {
            links: Links { policies: vec![AclId(70)], ..Links::default() },
            ..AclTokenPut::new(accessor, secret)
        }))
        .await;
    }

    async fn rules(&self, new: bool, rules: &str) {
        let put = PolicyPut::made(AclId(70), "of-dns", rules);
        self.acl(C::PolicyPut(PolicyPut { new, ..put })).await;
    }

    /// The answer to who has that token; to nobody in particular without one.
    fn ask_as(&mut self, token: &str, name: &str, rtype: RecordType) -> Reply {
        self.cluster.set_own_token(OwnToken::Dns, token);
        let caller = self.cluster.speaker(OwnToken::Dns);
        self.answerer.look_as(&self.cluster.snapshot(), || caller);
        self.ask(name, rtype)
    }

    async fn finds(&self, id: u128, name: &str, service: &str) {
        let target = QueryTarget { service: service.into(), ..QueryTarget::default() };
        self.query(QueryDef {
            id: QueryId(id),
            name: name.into(),
            session: None,
            token: String::new(),
            template: QueryTemplate::default(),
            target,
            ttl: None,
            ttl_text: String::new(),
        })
        .await;
    }
}

/// Beside `web` on foo and bar: `db` on bar, queries for both, and what leads to `db` by name.
async fn house() -> Bed {
    let bed = Bed::new(&Config::default()).await;
    bed.instance("bar", service("db", "db", 5432)).await;
    bed.finds(1, "to-web", "web").await;
    bed.finds(2, "to-db", "db").await;
    let mut alias = service("alias", "alias", 80);
    alias.address = "db.service.consul".into();
    bed.instance("foo", alias).await;
    let mut def = node("foo", "10.0.0.1");
    def.meta = [("rack".to_owned(), "r1".to_owned())].into();
    bed.ops(vec![CatalogOp::PutNode(def)]).await;
    bed
}

const FOO: &str = "service \"web\" { policy = \"read\" } service \"alias\" { policy = \"read\" } \
                   node \"foo\" { policy = \"read\" }";

#[tokio::test]
async fn what_may_not_be_read_is_refused_be_it_there_or_not() {
    let mut bed = house().await;
    bed.close(DefaultPolicy::Deny, FOO).await;
    let table = [
        ("web.service.consul.", A, Ok(1)),
        ("web.service.consul.", SRV, Ok(1)),
        ("v1.web.service.consul.", A, Ok(1)),
        ("_web._tcp.service.consul.", SRV, Ok(1)),
        ("foo.node.consul.", A, Ok(1)),
        ("foo.node.consul.", TXT, Ok(1)),
        ("to-web.query.consul.", A, Ok(1)),
        ("1.0.0.10.in-addr.arpa.", PTR, Ok(1)),
        ("0a000001.addr.consul.", A, Ok(1)),
        ("consul.", SOA, Ok(1)),
        // On a node that may not be seen: as if it were not there.
        ("v1.2.web.service.consul.", A, Err("NXDomain")),
        ("nope.consul.", A, Err("NXDomain")),
        ("db.service.consul.", A, Err("Refused")),
        ("nope.service.consul.", A, Err("Refused")),
        ("_db._tcp.service.consul.", SRV, Err("Refused")),
        ("_nope._tcp.consul.", SRV, Err("Refused")),
        ("bar.node.consul.", A, Err("Refused")),
        ("bar.node.consul.", TXT, Err("Refused")),
        ("nope.node.consul.", A, Err("Refused")),
        ("to-db.query.consul.", A, Err("Refused")),
        ("nope.query.consul.", A, Err("Refused")),
        ("2.0.0.10.in-addr.arpa.", PTR, Err("Refused")),
        ("9.0.0.10.in-addr.arpa.", PTR, Err("Refused")),
        ("consul.", NS, Err("Refused")),
        ("ns.consul.", A, Err("Refused")),
    ];
    // Twice: the second time from memory.
    for (name, rtype, expected) in table.into_iter().chain(table) {
        let reply = bed.ask_as(SECRET, name, rtype);
        let found = match reply.rcode().as_str() {
            "NoError" => Ok(reply.answers().len()),
            _ => Err(reply.rcode()),
        };
        let expected = expected.map_err(str::to_owned);
        assert_eq!(found, expected, "{name} {rtype}: {:?}", reply.answers());
        if found.is_err_and(|rcode| rcode == "Refused") {
            assert!(reply.authorities().is_empty() && reply.additionals().is_empty(), "{name}");
        }
    }
    // A name that may be read leads on to nothing that may not.
    let reply = bed.ask_as(SECRET, "alias.service.consul.", A);
    assert_eq!(reply.answers(), ["alias.service.consul. 0 IN CNAME db.service.consul."]);
    let reply = bed.ask_as(SECRET, "alias.service.consul.", SRV);
    let texts = reply.additionals().join("\n");
    assert!(texts.contains("rack=r1") && !texts.contains("10.0.0.2"), "{texts}");
}

#[tokio::test]
async fn a_change_of_rights_counts_at_once() {
    let mut bed = house().await;
    let rcode = |bed: &mut Bed, token: &str| {
        let reply = bed.ask_as(token, "web.service.consul.", A);
        (reply.rcode(), reply.answers().len())
    };
    let (found, refused) = (|n| ("NoError".to_owned(), n), ("Refused".to_owned(), 0));
    assert_eq!(rcode(&mut bed, ""), found(2));
    bed.close(DefaultPolicy::Deny, FOO).await;
    assert_eq!(rcode(&mut bed, ""), refused);
    assert_eq!(rcode(&mut bed, SECRET), found(1));
    assert_eq!(rcode(&mut bed, "not-given-out"), refused);
    bed.rules(false, &format!("{FOO} node \"bar\" {{ policy = \"read\" }}")).await;
    assert_eq!(rcode(&mut bed, SECRET), found(2));
    // Who shows none goes by the anonymous token.
    bed.token(ANONYMOUS, None).await;
    assert_eq!(rcode(&mut bed, ""), found(2));
    bed.acl(C::TokenDelete(AclId(71))).await;
    assert_eq!(rcode(&mut bed, SECRET), refused, "a token that is gone is worth nothing");
    bed.acl(C::Disable).await;
    assert_eq!(rcode(&mut bed, SECRET), found(2));
    bed.acl(C::Enable { default: DefaultPolicy::Allow, created: 0 }).await;
    assert_eq!(bed.ask_as("", "db.service.consul.", A).rcode(), "NoError");
    assert_eq!(bed.ask_as("", "nope.service.consul.", A).rcode(), "NXDomain");
}

#[tokio::test]
async fn both_transports_ask_for_the_agents_own_token() {
    let bed = house().await;
    bed.close(DefaultPolicy::Deny, FOO).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let to = handle.addrs[0];
    let packet = query("web.service.consul.", A, None);
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    for (kind, token, expected) in [
        (OwnToken::Dns, "", "Refused"),
        (OwnToken::Dns, SECRET, "NoError"),
        (OwnToken::Dns, "", "Refused"),
        // Without one of its own DNS has the one for everybody.
        (OwnToken::Default, SECRET, "NoError"),
    ] {
        bed.cluster.set_own_token(kind, token);
        let rcode = |message: Message| format!("{:?}", message.metadata.response_code);
        assert_eq!(rcode(over_udp(to, &packet).await), expected, "{kind:?} {token:?}");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &framed(&packet)).await.unwrap();
        assert_eq!(rcode(read(&mut stream).await), expected, "{kind:?} {token:?}");
    }
    life.shutdown.begin();
}

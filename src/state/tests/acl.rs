//! Tokens and policies in the state: judged in the log's order, kept, restored, kept from edges.

use std::time::Duration;

use bytes::Bytes;

use crate::access::{
    ANONYMOUS, AclCommand as C, AclError, AclTokenPut, Caller, DefaultPolicy, Denied, Links,
    PolicyPut, Sealed, SecretId,
};
use crate::model::{
    AclId, CheckDef, CheckKind, Digest, Folded, Health, KeyRange, LeaseId, QueryId, ServiceDef,
    SessionId, Source, Stamp,
};
use crate::state::{
    CatalogOp, Change, Command, EventDef, KvCommand, NodeDef, Outcome, Part, Refusal, State,
};

use super::Told;
use super::accounts::denied;
use super::restore::{backup, restore};
use super::sessions::session;

fn holder(of: u8) -> Caller {
    Caller::Holder(Digest([of; 32]))
}

/// A token whose secret has that digest; the number is its accessor's, too.
fn token(of: u8, policies: &[u128]) -> AclTokenPut {
    let sealed = Sealed(Bytes::from(format!("sealed {of}")));
    let policies = policies.iter().map(|id| AclId(*id)).collect();
    let secret = SecretId::Sealed { digest: Digest([of; 32]), sealed };
    AclTokenPut {
        links: Links { policies, ..Links::default() },
        ..AclTokenPut::new(AclId(of.into()), Some(secret))
    }
}

fn node(name: &str, address: &str) -> NodeDef {
    NodeDef {
        name: name.into(),
        agent: None,
        uuid: String::new(),
        address: address.into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    }
}

fn instance(id: &str, name: &str) -> CatalogOp {
    let def = ServiceDef::new(id, name);
    CatalogOp::PutInstance { node: Folded::new("x"), def, source: Source::Catalog }
}

fn check(id: &str, service: Option<&str>) -> CatalogOp {
    let mut def = CheckDef::new(id, id, CheckKind::Static);
    def.service_id = service.map(Into::into);
    let (status, output, source) = (Health::Passing, String::new(), Source::Catalog);
    CatalogOp::PutCheck { node: Folded::new("x"), def, status, output, source }
}

impl Told {
    fn acl(&mut self, command: C) {
        let outcome = self.tell(Stamp(0), Command::Acl(command.clone()));
        assert!(matches!(outcome, Outcome::Done | Outcome::Acl(_)), "{command:?}: {outcome:?}");
    }

    /// Token 10 may do everything, 11 owns the service web, 12 the node x. On x are instances of
    /// web and db, with a check each, and one of the node's own.
    fn with_tokens() -> Told {
        let mut told = Told::founded();
        let policy = |id: u128, text: &str| {
            C::PolicyPut(PolicyPut::made(AclId(id), &format!("p{id}"), text))
        };
        let ops = vec![
            CatalogOp::PutNode(node("x", "10.0.0.1")),
            instance("web", "web"),
            instance("db", "db"),
            check("of-web", Some("web")),
            check("of-db", Some("db")),
            check("of-x", None),
        ];
        assert_eq!(told.tell(Stamp(0), Command::Catalog(ops)), Outcome::Done);
        for command in [
            C::Enable { default: DefaultPolicy::Deny, created: 0 },
            C::Bootstrap(token(10, &[])),
            policy(100, "service \"web\" { policy = \"write\" }"),
            policy(101, "node \"x\" { policy = \"write\" } session \"x\" { policy = \"write\" }"),
            C::TokenPut(token(11, &[100])),
            C::TokenPut(token(12, &[101])),
        ] {
            told.acl(command);
        }
        told
    }
}

#[test]
fn each_step_in_the_catalog_takes_the_service_or_the_node_that_it_touches() {
    let told = Told::with_tokens();
    let x = || Folded::new("x");
    let report = |check: &str| CatalogOp::Report {
        node: x(),
        check: check.into(),
        status: Health::Critical,
        output: String::new(),
    };
    let gone = |id: &str| CatalogOp::RemoveInstance { node: x(), id: id.into() };
    let unchecked = |id: &str| CatalogOp::RemoveCheck { node: x(), id: id.into() };
    // Whether who owns web may, and who owns x.
    let table: [(Vec<CatalogOp>, bool, bool); 21] = [
        (vec![CatalogOp::PutNode(node("x", "10.0.0.2"))], false, true),
        (vec![CatalogOp::PutNode(node("y", "10.0.0.1"))], false, false),
        (vec![instance("web-2", "web")], true, false),
        (vec![instance("WEB-2", "Web")], true, false),
        (vec![instance("web", "other")], false, false),
        // In the place of somebody else's.
        (vec![instance("db", "web")], false, false),
        (vec![instance("new", "web"), check("c", Some("new"))], true, false),
        (vec![instance("new", "web"), check("c", Some("db"))], false, false),
        (vec![check("c", Some("web"))], true, false),
        (vec![check("of-db", Some("web"))], false, false),
        (vec![check("of-x", Some("web"))], false, false),
        (vec![check("c", None)], false, true),
        (vec![report("of-web")], true, false),
        (vec![report("of-db")], false, false),
        (vec![report("of-x")], false, true),
        (vec![CatalogOp::RemoveNode(x())], false, true),
        (vec![gone("web")], true, true),
        (vec![gone("db")], false, true),
        (vec![gone("nope")], false, true),
        (vec![unchecked("of-web")], true, true),
        (vec![unchecked("of-db")], false, true),
    ];
    // A node that stays as it is takes nothing.
    let same = Command::Catalog(vec![CatalogOp::PutNode(node("x", "10.0.0.1"))]);
    assert_eq!(denied(&told.decide(Stamp(0), same.by(Caller::Nobody)).0), None);
    for (ops, web, x) in table {
        let may = |caller: Caller| {
            let command = Command::Catalog(ops.clone()).by(caller);
            denied(&told.decide(Stamp(0), command).0).is_none()
        };
        let judged = [holder(11), holder(12), holder(10), Caller::Nobody].map(may);
        assert_eq!(judged, [web, x, true, false], "{ops:?}");
        assert_eq!(
            denied(&told.decide(Stamp(0), Command::Catalog(ops.clone())).0),
            None,
            "its own"
        );
    }
}

#[test]
fn other_commands_take_what_their_area_does() {
    let mut told = Told::with_tokens();
    let session = |id: u128, node: &str| Command::SessionCreate(session(id, node, &[]));
    assert_eq!(denied(&told.by(&holder(12), session(1, "x"))), None);
    let key = Bytes::from_static(b"k");
    let set = KvCommand::Set { key: key.clone(), value: key.clone(), flags: 0, cas: None };
    let ttl = Duration::from_secs(60);
    let event = EventDef {
        id: 1,
        name: "deploy".to_owned(),
        payload: Bytes::new(),
        node: String::new(),
        service: String::new(),
        tag: String::new(),
    };
    // By who owns x, and by nobody.
    let table = [
        (session(2, "x"), true, false),
        (session(3, "n1"), false, false),
        (Command::SessionDestroy(SessionId(1)), true, false),
        (Command::Kv(set), false, false),
        (Command::LeaseGrant { id: LeaseId(1), ttl }, true, false),
        (Command::Compact(1), false, false),
        (Command::EventFire(event), false, false),
        (Command::QueryDelete(QueryId(1)), false, false),
        (Command::Autopilot { settings: Default::default(), cas: None }, false, false),
        (Command::Account(crate::access::AccountCommand::Enable), false, false),
        (Command::Acl(C::TokenDelete(AclId(10))), false, false),
        (Command::Acl(C::Disable), false, false),
        (Command::Acl(C::Reset(token(21, &[]))), false, false),
        (Command::Acl(C::Enable { default: DefaultPolicy::Allow, created: 0 }), false, false),
        // Nobody has to be known to ask, but it has been done.
        (Command::Acl(C::Bootstrap(token(20, &[]))), true, true),
    ];
    for (command, own, nobody) in table {
        let may =
            |caller: Caller| denied(&told.decide(Stamp(0), command.clone().by(caller)).0).is_none();
        let judged = [holder(12), Caller::Nobody, holder(10)].map(may);
        assert_eq!(judged, [own, nobody, true], "{command:?}");
    }
    let again = told.by(&Caller::Nobody, Command::Acl(C::Bootstrap(token(20, &[]))));
    assert!(
        matches!(again, Outcome::Refused(Refusal::Acl(AclError::Bootstrapped(_)))),
        "{again:?}"
    );
}

#[test]
fn turning_one_side_on_takes_the_other_sides_root() {
    // Users count: tokens are root's to turn on, and the first one is root's to make.
    let mut told = Told::closed();
    let (root, bob) = (told.caller("root"), told.caller("bob"));
    let enable = || Command::Acl(C::Enable { default: DefaultPolicy::Allow, created: 0 });
    let first = || Command::Acl(C::Bootstrap(token(10, &[])));
    assert_eq!(denied(&told.by(&Caller::Nobody, enable())), Some(Denied::Nobody));
    assert_eq!(denied(&told.by(&bob, enable())), Some(Denied::Permission));
    assert_eq!(told.by(&root, enable()), Outcome::Done);
    assert_eq!(denied(&told.by(&Caller::Nobody, first())), Some(Denied::Nobody));
    assert_eq!(denied(&told.by(&bob, first())), Some(Denied::Permission));
    assert!(matches!(told.by(&root, first()), Outcome::Acl(_)));
    // Allowed by default is what users do not close.
    let set = |key: &'static str| {
        let key = Bytes::from_static(key.as_bytes());
        Command::Kv(KvCommand::Set { value: key.clone(), key, flags: 0, cas: None })
    };
    assert_eq!(denied(&told.by(&Caller::Nobody, set("k"))), Some(Denied::Nobody));
    assert_eq!(denied(&told.by(&bob, set("app/1"))), None);
    assert_eq!(denied(&told.by(&holder(10), set("k"))), None);
    // Tokens count: who may do everything turns users on, and nobody else.
    let mut told = Told::with_tokens();
    let users = || Command::Account(crate::access::AccountCommand::RoleAdd("r".into()));
    assert!(denied(&told.by(&Caller::Nobody, users())).is_some());
    assert!(denied(&told.by(&holder(11), users())).is_some());
    assert_eq!(told.by(&holder(10), users()), Outcome::Done);
}

#[test]
fn a_snapshot_keeps_tokens_and_tells_edges_no_secret() {
    let told = Told::with_tokens();
    let same = |part| State::decode(&told.state.encode(Part::Server), part).unwrap();
    let server = same(Part::Server);
    assert_eq!(server.acl(), told.state.acl());
    assert_eq!(server.secret(AclId(11)), Some(&Sealed("sealed 11".into())));
    let edge = same(Part::Shared);
    assert_eq!((edge.acl(), edge.secret(AclId(11))), (told.state.acl(), None));
    let shared = told.state.encode(Part::Shared);
    assert!(!shared.windows(6).any(|window| window == b"sealed"));
    let mut followed = State::new(Part::Shared);
    for changes in &told.entries {
        let shared = changes.shared();
        assert!(!shared.rows.iter().any(|row| matches!(row, Change::Secret(..))));
        followed.absorb(&shared);
    }
    assert_eq!(followed.acl(), told.state.acl());
    assert_eq!(followed.checksum(Part::Shared), told.state.checksum(Part::Shared));
    assert_ne!(followed.checksum(Part::Shared), Told::founded().state.checksum(Part::Shared));
}

#[test]
fn a_backup_brings_tokens_back_with_the_time_that_they_had_left() {
    let mut saved = Told::with_tokens();
    let ttl = Some(Duration::from_secs(60));
    saved.acl(C::TokenPut(AclTokenPut { ttl, ..token(30, &[100]) }));
    saved.tell(Stamp(20_000), Command::Checkpoint);
    let mut told = Told::founded();
    told.acl(C::Enable { default: DefaultPolicy::Allow, created: 9 });
    told.acl(C::Bootstrap(token(40, &[])));
    told.tell(Stamp(500_000), Command::Checkpoint);
    let bytes = backup(&saved.state);
    assert!(matches!(restore(&mut told, &bytes, 4096), Outcome::Restored { .. }));
    let (acl, stamp) = (told.state.acl(), told.state.stamp());
    assert!(acl.enabled() && acl.switch().default == DefaultPolicy::Deny);
    assert_eq!(acl.switch().index, told.state.index());
    assert!(acl.token(AclId(40)).is_none() && acl.policy(AclId(100)).is_some());
    assert_eq!(told.state.secret(AclId(40)), None);
    assert_eq!(told.state.secret(AclId(11)), Some(&Sealed("sealed 11".into())));
    assert_eq!(acl.first_end(), Some(stamp.plus(Duration::from_secs(40))));
    let ops = || Command::Catalog(vec![instance("web", "web")]);
    assert_eq!(denied(&told.by(&holder(40), ops())), Some(Denied::Token));
    // One without tokens opens what was closed.
    let open = backup(&Told::founded().state);
    assert!(matches!(restore(&mut told, &open, 4096), Outcome::Restored { .. }));
    assert!(!told.state.acl().enabled() && told.state.acl().token(ANONYMOUS).is_none());
}

#[test]
fn a_token_is_worth_nothing_from_its_end_on() {
    let mut told = Told::with_tokens();
    let ttl = Some(Duration::from_secs(60));
    told.acl(C::TokenPut(AclTokenPut { ttl, ..token(30, &[1]) }));
    let read = |told: &Told| {
        let range = KeyRange::one("k".into());
        told.state.judge(&holder(30), crate::access::Need::Read(&range))
    };
    let ends = told.state.acl().first_end().unwrap();
    told.tell(Stamp(ends.0 - 1), Command::Checkpoint);
    assert_eq!(read(&told), Ok(()));
    told.tell(ends, Command::Checkpoint);
    assert_eq!(read(&told), Err(Denied::Token));
    assert!(told.state.acl().token(AclId(30)).is_some(), "its row goes when the leader says so");
    assert_eq!(told.tell(ends, Command::Acl(C::Expire)), Outcome::Done);
    assert_eq!(told.state.acl().token(AclId(30)), None);
    assert_eq!(told.state.secret(AclId(30)), None);
    let index = told.state.index();
    told.tell(ends, Command::Acl(C::Expire));
    assert_eq!(told.state.index(), index, "where nothing ends nothing changes");
}

#[test]
fn a_cluster_can_be_founded_with_tokens() {
    let mut told = Told { state: State::new(Part::Server), entries: Vec::new() };
    let founding = crate::state::Founding {
        cluster: 1,
        lineage: 1,
        settings: Default::default(),
        founder: super::founder(),
        trust: super::trust(),
        acl: Some(Box::new(C::Enable { default: DefaultPolicy::Deny, created: 7 })),
    };
    told.tell(Stamp(0), Command::Found(founding));
    assert!(told.state.acl().enabled());
    assert!(denied(&told.by(&Caller::Nobody, Command::Compact(1))).is_some());
}

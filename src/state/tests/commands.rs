//! Random commands over a small world, so that they meet each other often.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::Stamp;
use crate::model::{
    CheckDef, CheckKind, Folded, Health, LeaseId, NodeId, NodeName, QueryId, Role, ServiceDef,
    SessionId, Source, TokenId,
};
use crate::state::{
    Admission, Autopilot, Behavior, CatalogOp, Command, DeleteRange, EventDef, Key, KeyRange,
    KvCommand, NodeDef, PRESENCE_CHECK, Put, QueryDef, QueryTarget, QueryTemplate, RangeQuery,
    ServiceCheck, SessionDef, Settings, SortBy, TokenDef, TokenPut,
};

pub const KEYS: [&[u8]; 7] = [b"a", b"a/b", b"a/c", b"a0", b"b", b"b/\xff", b"\xff"];
pub const PREFIXES: [&[u8]; 7] = [b"", b"a", b"a/", b"b/", b"\xff", b"\xff\xff", b"zz"];
pub const SERVICES: [&str; 3] = ["web", "Web", "db"];
pub const NODES: [&str; 3] = ["n1", "N2", "A.ext"];
pub const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];
pub const INSTANCES: [&str; 3] = ["i1", "i2", "i3"];
pub const CHECKS: [&str; 4] = ["c1", "c2", "c3", PRESENCE_CHECK];

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

pub fn key() -> impl Strategy<Value = Key> {
    one_of(&KEYS).prop_map(Bytes::from_static)
}

/// A write of that key.
pub fn key_put(key: &'static str) -> Command {
    let (key, value) = (Bytes::from(key), Bytes::from("v"));
    Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None })
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![20 => key(), 1 => Just(Bytes::new())]
}

pub fn value() -> impl Strategy<Value = Bytes> {
    one_of(&["", "1", "2"]).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (0..4i64).prop_map(LeaseId)
}

fn agent() -> impl Strategy<Value = NodeId> {
    (1..6u64).prop_map(NodeId)
}

fn node() -> impl Strategy<Value = Folded> {
    one_of(&NODES).prop_map(Folded::new)
}

fn health() -> impl Strategy<Value = Health> {
    one_of(&[Health::Passing, Health::Warning, Health::Critical])
}

fn source() -> impl Strategy<Value = Source> {
    one_of(&[Source::Api, Source::Config])
}

pub fn range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0")), key(),];
    prop_oneof![
        (any_key(), end).prop_map(|(key, end)| KeyRange { key, end }),
        one_of(&PREFIXES).prop_map(|prefix| KeyRange::prefix(&Bytes::from_static(prefix))),
    ]
}

pub fn query() -> impl Strategy<Value = RangeQuery> {
    let sort =
        one_of(&[SortBy::Key, SortBy::Version, SortBy::Create, SortBy::Modified, SortBy::Value]);
    let bound = || prop_oneof![9 => Just(0i64), 3 => 1..20i64, 1 => Just(-1)];
    let bounds = (bound(), bound(), bound(), bound());
    let revision = prop_oneof![6 => Just(0i64), 6 => 1..40i64, 1 => Just(-1)];
    (range(), 0..4i64, revision, sort, any::<bool>(), any::<bool>(), bounds).prop_map(
        |(range, limit, revision, sort_by, descending, count_only, bounds)| RangeQuery {
            range,
            limit,
            revision,
            sort_by,
            descending,
            count_only,
            min_modified: bounds.0,
            max_modified: bounds.1,
            min_create: bounds.2,
            max_create: bounds.3,
        },
    )
}

pub fn put_of(key: impl Strategy<Value = Key>) -> impl Strategy<Value = Put> {
    let flag = || prop_oneof![4 => Just(false), 1 => Just(true)];
    (key, value(), lease(), any::<bool>(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

pub fn key_command() -> impl Strategy<Value = Command> {
    let delete = (range(), any::<bool>())
        .prop_map(|(range, prev_kv)| Command::DeleteRange(DeleteRange { range, prev_kv }));
    prop_oneof![
        6 => put_of(any_key()).prop_map(Command::Put),
        3 => super::txn::txn().prop_map(Command::Txn),
        2 => delete,
        6 => kv_command().prop_map(Command::Kv),
        2 => (lease(), 1..60u64).prop_map(|(id, ttl)| {
            Command::LeaseGrant { id, ttl: Duration::from_secs(ttl) }
        }),
        1 => lease().prop_map(Command::LeaseRevoke),
        1 => (proptest::collection::vec(lease(), 0..3), 1..3u64)
            .prop_map(|(ids, term)| Command::LeaseExpire { ids, term }),
    ]
}

fn kv_command() -> impl Strategy<Value = KvCommand> {
    let cas = || proptest::option::of(prop_oneof![Just(0i64), 1..20i64]);
    prop_oneof![
        4 => (any_key(), value(), 0..2u64, cas())
            .prop_map(|(key, value, flags, cas)| KvCommand::Set { key, value, flags, cas }),
        2 => (any_key(), cas()).prop_map(|(key, cas)| KvCommand::Delete { key, cas }),
        1 => one_of(&PREFIXES[1..])
            .prop_map(|prefix| KvCommand::DeleteTree { prefix: Bytes::from_static(prefix) }),
        7 => hold_command(),
    ]
}

fn hold_command() -> impl Strategy<Value = KvCommand> {
    let acquires = prop_oneof![5 => Just(true), 2 => Just(false)];
    let of = (acquires, any_key(), value(), 0..2u64, session_id());
    of.prop_map(|(acquires, key, value, flags, session)| match acquires {
        true => KvCommand::Acquire { key, value, flags, session },
        false => KvCommand::Release { key, value, flags, session },
    })
}

pub fn session_id() -> impl Strategy<Value = SessionId> {
    prop_oneof![12 => 1..4u128, 1 => Just(0)].prop_map(SessionId)
}

fn session() -> impl Strategy<Value = SessionDef> {
    let behavior = one_of(&[Behavior::Release, Behavior::Release, Behavior::Delete]);
    let checks = || proptest::collection::vec(one_of(&CHECKS).prop_map(Arc::from), 0..2);
    let of_services = proptest::option::of(checks());
    let delay = one_of(&[0, -1, 5_000_000_000, 90_000_000_000]);
    (session_id(), one_of(&NODES), behavior, delay, checks(), of_services, checks()).prop_map(
        |(id, node, behavior, lock_delay, node_checks, of_services, checks)| {
            let of_service = |id| ServiceCheck { id, namespace: String::new() };
            SessionDef {
                id,
                name: "s".to_owned(),
                node: node.into(),
                behavior,
                ttl: Some(Duration::from_secs(10)),
                ttl_text: "10s".to_owned(),
                lock_delay,
                node_checks,
                service_checks: of_services.map(|ids| ids.into_iter().map(of_service).collect()),
                checks,
            }
        },
    )
}

fn session_command() -> impl Strategy<Value = Command> {
    let ids = proptest::collection::vec(session_id(), 0..3);
    let delays = proptest::collection::vec((key(), 1..60u64), 0..4);
    prop_oneof![
        6 => session().prop_map(Command::SessionCreate),
        2 => session_id().prop_map(Command::SessionDestroy),
        1 => (ids, 1..3u64).prop_map(|(ids, term)| Command::SessionExpire { ids, term }),
        2 => (delays, 1..3u64).prop_map(|(delays, term)| Command::LockDelayEnd { delays, term }),
    ]
}

pub fn catalog_op() -> impl Strategy<Value = CatalogOp> {
    prop_oneof![
        4 => put_node(),
        6 => put_instance(),
        6 => put_check(),
        4 => (node(), one_of(&CHECKS), health(), one_of(&["", "ok"])).prop_map(
            |(node, check, status, output)| {
                let (check, output) = (check.into(), output.to_owned());
                CatalogOp::Report { node, check, status, output }
            },
        ),
        1 => node().prop_map(CatalogOp::RemoveNode),
        2 => (node(), one_of(&INSTANCES))
            .prop_map(|(node, id)| CatalogOp::RemoveInstance { node, id: id.into() }),
        2 => (node(), one_of(&CHECKS))
            .prop_map(|(node, id)| CatalogOp::RemoveCheck { node, id: id.into() }),
    ]
}

fn put_node() -> impl Strategy<Value = CatalogOp> {
    let agent = proptest::option::of(agent());
    let of = (
        one_of(&NODES),
        agent,
        one_of(&["10.0.0.1", "10.0.0.2", "a.host"]),
        any::<bool>(),
        1..3u64,
    );
    of.prop_map(|(name, agent, address, rack, ttl)| {
        CatalogOp::PutNode(NodeDef {
            name: name.into(),
            agent,
            uuid: String::new(),
            address: address.into(),
            tagged_addresses: Default::default(),
            meta: rack.then(|| ("rack".to_owned(), "1".to_owned())).into_iter().collect(),
            presence_ttl: Duration::from_secs(ttl),
        })
    })
}

fn put_instance() -> impl Strategy<Value = CatalogOp> {
    let of = (node(), one_of(&INSTANCES), one_of(&SERVICES), 80..82, any::<bool>(), source());
    of.prop_map(|(node, id, service, port, tagged, source)| {
        let mut def = ServiceDef::new(id, service);
        def.port = port;
        def.address = if port == 81 { "10.0.0.1".into() } else { "".into() };
        def.tags = tagged.then(|| "v1".into()).into_iter().collect();
        CatalogOp::PutInstance { node, def, source }
    })
}

fn put_check() -> impl Strategy<Value = CatalogOp> {
    let instance = proptest::option::of(one_of(&INSTANCES));
    let of = (node(), one_of(&CHECKS), instance, health(), one_of(&["", "ok"]), source());
    of.prop_map(|(node, id, instance, status, output, source)| {
        let mut def = CheckDef::new(id, id, CheckKind::Static);
        def.service_id = instance.map(Into::into);
        CatalogOp::PutCheck { node, def, status, output: output.to_owned(), source }
    })
}

pub fn admission() -> impl Strategy<Value = Admission> {
    let role = one_of(&[Role::Server, Role::Edge, Role::Edge, Role::Relay]);
    let token = prop_oneof![4 => token_id().prop_map(Some), 1 => Just(None)];
    let of = (one_of(&NODES), 1..6u128, role, 8300..8302u16, 1..3u32, token);
    of.prop_map(|(name, nonce, role, port, level, token)| Admission {
        name: NodeName::new(name).unwrap(),
        nonce,
        role,
        peer_addr: ([127, 0, 0, 1], port).into(),
        client_urls: Vec::new(),
        version: "1".to_owned(),
        level,
        token,
    })
}

/// The first two were made offline.
fn token_id() -> impl Strategy<Value = TokenId> {
    prop_oneof![1u64..3, 1u64..6].prop_map(TokenId)
}

fn token_command() -> impl Strategy<Value = Command> {
    let role = one_of(&[Role::Server, Role::Edge, Role::Relay]);
    let ttl = proptest::option::of((1..90u64).prop_map(Duration::from_millis));
    let uses = proptest::option::of(0..3u64);
    prop_oneof![
        3 => (token_id(), role, ttl, uses).prop_map(|(id, role, ttl, uses)| {
            let def = TokenDef { id, role, public: Bytes::from_static(&[4; 65]) };
            Command::TokenPut(TokenPut { def, ttl, uses })
        }),
        1 => token_id().prop_map(Command::TokenRetire),
    ]
}

fn member_command() -> impl Strategy<Value = Command> {
    let agents = || proptest::collection::vec(agent(), 0..3);
    prop_oneof![
        4 => admission().prop_map(Command::Admit),
        1 => (agent(), 8300..8302u16, 1..3u32).prop_map(|(id, port, level)| Command::Contact {
            id,
            peer_addr: ([127, 0, 0, 1], port).into(),
            client_urls: Vec::new(),
            version: "2".to_owned(),
            level,
        }),
        1 => agent().prop_map(Command::Retire),
        2 => (agents(), 1..3u64).prop_map(|(nodes, term)| Command::Silent { nodes, term }),
        2 => (agents(), 1..3u64).prop_map(|(nodes, term)| Command::Reap { nodes, term }),
        1 => (1..3u32).prop_map(|voters| {
            Command::Settings(Settings { voters, ..Settings::default() })
        }),
        1 => (0..3u32).prop_map(Command::Raise),
    ]
}

fn housekeeping() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..25i64).prop_map(Command::Compact),
        (0..90u64, 0..90u64).prop_map(|(tombstones, history)| Command::Forget {
            tombstones: Stamp(tombstones),
            history: Stamp(history),
        }),
    ]
}

/// Ids, names and sessions that meet each other, and a template among them.
fn query_command() -> impl Strategy<Value = Command> {
    let id = || (1..4u128).prop_map(QueryId);
    let name = one_of(&["q", "Q", "q-", ""]);
    let session = prop_oneof![2 => Just(None), 1 => session_id().prop_map(Some)];
    let def = (id(), name, session, any::<bool>(), one_of(&SERVICES), one_of(&["", "^q-(.*)$"]));
    let def = def.prop_map(|(id, name, session, is_set, service, regexp)| QueryDef {
        id,
        name: name.to_owned(),
        session,
        token: String::new(),
        template: QueryTemplate { is_set, regexp: regexp.to_owned(), remove_empty_tags: false },
        target: QueryTarget { service: service.to_owned(), ..QueryTarget::default() },
        ttl: None,
        ttl_text: String::new(),
    });
    let trail = (0..3u64)
        .prop_map(|max_trailing_logs| Autopilot { max_trailing_logs, ..Autopilot::default() });
    let event = one_of(&["deploy", "gone"]).prop_map(|name| EventDef {
        id: 7,
        name: name.to_owned(),
        payload: Bytes::new(),
        node: String::new(),
        service: String::new(),
        tag: String::new(),
    });
    prop_oneof![
        6 => (def, any::<bool>()).prop_map(|(def, new)| Command::QueryPut { def, new }),
        1 => id().prop_map(Command::QueryDelete),
        1 => event.prop_map(Command::EventFire),
        1 => (trail, proptest::option::of(0..20u64))
            .prop_map(|(settings, cas)| Command::Autopilot { settings, cas }),
    ]
}

/// Any command with the stamp of its proposal; a late leader's may lie before the last one's.
pub fn command() -> impl Strategy<Value = (Stamp, Command)> {
    let ops = proptest::collection::vec(catalog_op(), 1..4);
    let command = prop_oneof![
        7 => key_command(),
        4 => session_command(),
        3 => query_command(),
        4 => super::sequence::sequence().prop_map(Command::Sequence),
        8 => ops.prop_map(Command::Catalog),
        3 => member_command(),
        1 => token_command(),
        1 => housekeeping(),
    ];
    ((0..100u64).prop_map(Stamp), command)
}

pub fn commands() -> impl Strategy<Value = Vec<(Stamp, Command)>> {
    proptest::collection::vec(command(), 0..60)
}

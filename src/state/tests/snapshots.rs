//! Snapshots that are whole, damaged, cut, and of the released format.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::{
    CheckDef, CheckKind, Folded, Health, LeaseId, NodeId, Role, ServiceDef, SessionId, Source,
    Stamp, TokenId,
};
use crate::state::snapshot::{MAGIC, SECTION_HEAD, section_crc};
use crate::state::{
    Alarm, AlarmKind, Autopilot, CatalogOp, Command, Decoder, KvCommand, NodeDef, Part, Put,
    SessionDef, SnapshotError, State, TokenDef, TokenPut, presence_check,
};

use super::Told;
use super::commands::{ADDRESSES, commands};

fn told(commands: Vec<(Stamp, Command)>) -> Told {
    let mut told = Told::founded();
    for (stamp, command) in commands {
        told.tell(stamp, command);
    }
    told
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(commands in commands()) {
        let state = told(commands).state;
        let (server, shared) = (state.encode(Part::Server), state.encode(Part::Shared));
        let again = State::decode(&server, Part::Server).unwrap();
        prop_assert_eq!(again.encode(Part::Server), server.clone());
        let edge = State::decode(&server, Part::Shared).unwrap();
        prop_assert_eq!(edge.encode(Part::Server), shared.clone());
        let edge = State::decode(&shared, Part::Shared).unwrap();
        prop_assert_eq!(edge.checksum(Part::Shared), state.checksum(Part::Shared));
        let missing = State::decode(&shared, Part::Server).err();
        prop_assert_eq!(missing, Some(SnapshotError::Missing("server")));
    }

    /// What is derived from the rows is in no snapshot, and made by another way than `absorb`.
    #[test]
    fn what_is_read_answers_as_what_was_written(commands in commands()) {
        let state = told(commands).state;
        let again = State::decode(&state.encode(Part::Server), Part::Server).unwrap();
        prop_assert_eq!(derived(&again), derived(&state));
    }

    #[test]
    fn every_flipped_bit_is_found(
        commands in commands(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut bytes = told(commands).state.encode(Part::Server);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(State::decode(&bytes, Part::Server).is_err(), "byte {at}, bit {bit}");
    }

    #[test]
    fn every_cut_is_found(commands in commands(), at in any::<prop::sample::Index>()) {
        let bytes = told(commands).state.encode(Part::Server);
        let at = at.index(bytes.len());
        prop_assert!(State::decode(&bytes[..at], Part::Server).is_err(), "cut at {at}");
    }

    #[test]
    fn pieces_of_any_length_make_the_same_state(
        commands in commands(),
        lengths in proptest::collection::vec(1usize..300, 1..50),
    ) {
        let bytes = told(commands).state.encode(Part::Server);
        let mut decoder = Decoder::new(Part::Server);
        let (mut rest, mut lengths) = (&bytes[..], lengths.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
            decoder.push(piece).unwrap();
            rest = behind;
        }
        prop_assert_eq!(decoder.finish().unwrap().encode(Part::Server), bytes);
    }

    #[test]
    fn garbage_is_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        framed in any::<bool>(),
    ) {
        if framed {
            let head = State::new(Part::Server).encode(Part::Server);
            bytes.splice(0..0, head[..12].iter().copied());
        }
        prop_assert!(State::decode(&bytes, Part::Server).is_err());
    }

    /// What passes the checksum may still be nonsense: no panic then either.
    #[test]
    fn nonsense_under_a_true_checksum_never_panics(
        commands in commands(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = told(commands).state.encode(Part::Server);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut sealed = bytes.clone();
        reseal(&mut sealed);
        let _ = State::decode(&sealed, Part::Server);
    }
}

/// All that a state finds by other ways than the keys of its rows.
fn derived(state: &State) -> Vec<String> {
    let services = state.service_names().flat_map(|name| {
        let views = state.instances(name.as_str());
        views.map(move |view| format!("{name}: {view:?}")).collect::<Vec<_>>()
    });
    let nodes = state.nodes().map(|(name, _)| format!("{name}: {:?}", state.checks_of(name, "")));
    let presences = state.presences().map(|presence| format!("{presence:?}"));
    let leases = state.leases().map(|lease| {
        format!("{:?}: {:?}", lease.id, state.lease_keys(lease.id).collect::<Vec<_>>())
    });
    let sessions = state.sessions().map(|session| {
        let id = session.def.id;
        format!("{id}: {:?}", state.session_keys(id).collect::<Vec<_>>())
    });
    let lives = state.nodes().map(|(name, _)| {
        let on_it: Vec<_> = state.sessions_on(name).map(|session| session.def.id).collect();
        format!("{name}: {on_it:?}")
    });
    let places = ADDRESSES.iter().map(|ip| {
        let nodes: Vec<_> = state.nodes_at(*ip).map(|node| &node.def.name).collect();
        let instances: Vec<_> = state.instances_at(*ip).map(|row| &row.def.id).collect();
        format!("{nodes:?} {instances:?} {}", state.is_above_a_node("ext"))
    });
    let of_sessions = sessions.chain(lives).chain([format!("{} bytes", state.live_size())]);
    services.chain(nodes).chain(places).chain(presences).chain(leases).chain(of_sessions).collect()
}

/// Makes the sections' checksums true again.
fn reseal(bytes: &mut [u8]) {
    let mut head = MAGIC.len() + 4;
    while head + SECTION_HEAD <= bytes.len() {
        let mut len = [0; 4];
        len.copy_from_slice(&bytes[head + 1..head + 5]);
        let body = head + SECTION_HEAD;
        let end = body.saturating_add(u32::from_le_bytes(len) as usize).min(bytes.len());
        let crc = section_crc(bytes[head], len, &bytes[body..end]);
        bytes[head + 5..body].copy_from_slice(&crc.to_le_bytes());
        head = end;
    }
}

/// A hundred thousand instances are held by every agent: what rows say alike is there once.
#[test]
fn what_rows_say_alike_they_share() {
    let (node, source) = (Folded::new("n1"), Source::Api);
    let put = |id: &str| {
        let mut def = ServiceDef::new(id, "web");
        def.tags = vec!["v1".into()];
        CatalogOp::PutInstance { node: node.clone(), def, source }
    };
    let mut ops = vec![put("web-1"), put("web-2")];
    let def = NodeDef {
        name: "n1".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    };
    ops.insert(0, CatalogOp::PutNode(def));
    let state = told(vec![(Stamp(1), Command::Catalog(ops))]).state;
    let again = State::decode(&state.encode(Part::Shared), Part::Shared).unwrap();
    let rows: Vec<_> = again.instances_on_node(&node).collect();
    let [one, two] = rows[..] else { panic!("{rows:?}") };
    assert!(Arc::ptr_eq(&one.def.name, &two.def.name));
    assert!(Arc::ptr_eq(&one.def.tags[0], &two.def.tags[0]));
    assert!(Arc::ptr_eq(&one.def.address, &two.def.address));
}

#[test]
fn a_large_state_comes_in_small_pieces() {
    let set = |n: u32| {
        let (key, value) = (Bytes::from(format!("k{n}")), Bytes::from(vec![7; 100]));
        (Stamp(u64::from(n)), Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None }))
    };
    let state = told((0..2000).map(set).collect()).state;
    let (mut pieces, mut longest) = (0, 0);
    let Ok(()) = state.encode_to(Part::Server, |piece| {
        pieces += 1;
        longest = longest.max(piece.len());
        Ok::<(), std::convert::Infallible>(())
    });
    assert!(pieces > 5, "{pieces}");
    assert!(longest < 66 * 1024, "{longest}");
}

#[test]
fn what_follows_the_end_is_an_error() {
    let mut bytes = sample().encode(Part::Server);
    bytes.push(0);
    assert_eq!(State::decode(&bytes, Part::Server).err(), Some(SnapshotError::Surplus(1)));
}

/// A state with something of everything, the same in every release.
fn sample() -> State {
    let node = Folded::new("n1");
    let mut def = ServiceDef::new("web-1", "Web");
    (def.port, def.tags) = (8080, vec!["v1".into()]);
    def.meta.insert("rack".to_owned(), "1".to_owned());
    let put_node = CatalogOp::PutNode(NodeDef {
        name: "N1".into(),
        agent: Some(NodeId(1)),
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    });
    let check = |def, status| CatalogOp::PutCheck {
        node: node.clone(),
        def,
        status,
        output: "said so".to_owned(),
        source: Source::Config,
    };
    let lost = |id: &str| CatalogOp::PutInstance {
        node: node.clone(),
        def: ServiceDef::new(id, id),
        source: Source::Api,
    };
    let set = |key: &'static str, value: &'static str| {
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        Command::Kv(KvCommand::Set { key, value, flags: 7, cas: None })
    };
    let acquire = |key: &'static str, session| {
        let (key, value) = (Bytes::from(key), Bytes::from("1"));
        Command::Kv(KvCommand::Acquire { key, value, flags: 0, session: SessionId(session) })
    };
    let mut ttl = CheckDef::new("c", "alive", CheckKind::Ttl { ttl: Duration::from_secs(15) });
    ttl.service_id = Some("web-1".into());
    let put = CatalogOp::PutInstance { node: node.clone(), def, source: Source::Config };
    let ops = vec![put_node, put, check(presence_check(), Health::Passing), lost("gone")];
    let commands = [
        Command::Catalog(ops),
        Command::Catalog(vec![check(ttl, Health::Warning)]),
        Command::Catalog(vec![CatalogOp::RemoveInstance { node: node.clone(), id: "gone".into() }]),
        Command::LeaseGrant { id: LeaseId(5), ttl: Duration::from_secs(30) },
        Command::Put(Put {
            key: Bytes::from("leased"),
            value: Bytes::from("1"),
            lease: LeaseId(5),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }),
        set("old", "1"),
        set("old", "2"),
        Command::Compact(3),
        set("old", "3"),
        Command::Kv(KvCommand::Delete { key: Bytes::from("old"), cas: None }),
        set("new", "1"),
        Command::TokenPut(TokenPut {
            def: TokenDef {
                id: TokenId(9),
                role: Role::Edge,
                public: Bytes::from_static(&[4; 65]),
            },
            ttl: Some(Duration::from_secs(60)),
            uses: Some(3),
        }),
        Command::SessionCreate(SessionDef {
            lock_delay: 15_000_000_000,
            ..super::sessions::session(4, "n1", &["serfHealth"])
        }),
        Command::SessionCreate(super::sessions::session(6, "N1", &[])),
        acquire("free", 4),
        acquire("held", 6),
        Command::SessionDestroy(SessionId(4)),
        Command::QueryPut { def: super::queries::template(8, "geo-", "^geo-(.*)$"), new: true },
        Command::EventFire(super::queries::event("deploy")),
        Command::Autopilot { settings: Autopilot::default(), cas: Some(0) },
        Command::Alarm { alarm: Alarm { kind: AlarmKind::Corrupt, member: NodeId(1) }, on: true },
    ];
    let stamps = (1..).map(|n| Stamp(n * 1000));
    told(stamps.zip(commands).collect()).state
}

/// Formats are frozen once released: if this fails, write a new version and a reader of both. As
/// long as nothing is released, `REMORA_GENERATE=1` writes the fixture anew.
#[test]
#[allow(clippy::disallowed_methods)]
fn format_1_is_read_and_written_as_it_was_released() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/snapshot-1.bin");
    if std::env::var_os("REMORA_GENERATE").is_some() {
        std::fs::write(path, sample().encode(Part::Server)).unwrap();
    }
    let bytes = std::fs::read(path).unwrap();
    let state = State::decode(&bytes, Part::Server).unwrap();
    assert_eq!(state.key(b"new").unwrap().flags, 7);
    assert_eq!(state.key_index(b"old"), 6);
    assert_eq!(state.history().unwrap().compacted(), 3);
    assert_eq!(
        state.instances("web").map(|view| view.health()).collect::<Vec<_>>(),
        [Health::Warning]
    );
    assert_eq!(state.service_health_index("gone"), 4);
    assert_eq!(state.token(TokenId(9)).unwrap().left, Some(3));
    assert!(state.has_alarm(AlarmKind::Corrupt));
    assert_eq!(state.key(b"held").unwrap().holder(), Some(SessionId(6)));
    assert_eq!(state.session_keys(SessionId(6)).count(), 1);
    assert!(state.lock_delay(b"free").is_some());
    assert_eq!(state.find_query("geo-web").unwrap().def.target.service, "web");
    assert_eq!(state.fired().count(), 1);
    assert!(state.autopilot().modified > 0);
    assert_eq!(state.encode(Part::Server), sample().encode(Part::Server));
    assert_eq!(state.encode(Part::Server), bytes);
}

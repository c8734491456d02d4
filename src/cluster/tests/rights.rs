//! Every ask, every command and every purpose, for every kind of agent.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::access::{AccountCommand, AclCommand, Caller};
use crate::cluster::asks::{Ask, Introduction, Petition, Pulse, Reach, Secret};
use crate::cluster::checkpoint::{Report, Sum};
use crate::cluster::rights::{Kind, may_ask, may_open, may_register, may_serve};
use crate::model::{AclId, Applied, Folded, LeaseId, NodeId, NodeName, Role, Stamp, TokenId};
use crate::net::peer::{Peer, Purpose};
use crate::state::{
    Admission, Alarm, AlarmKind, CatalogOp, Command, DeleteRange, Founding, KeyRange, KvCommand,
    Put, Settings, TokenDef, TokenPut, Trust,
};

const ME: NodeId = NodeId(7);
const OTHER: NodeId = NodeId(8);
const KINDS: [Kind; 5] = [Kind::Stranger, Kind::Candidate, Kind::Edge, Kind::Relay, Kind::Server];
const PURPOSES: [Purpose; 5] =
    [Purpose::Raft, Purpose::Snapshot, Purpose::Door, Purpose::Follow, Purpose::Entrance];

fn peer(kind: Kind) -> Option<Peer> {
    match kind {
        Kind::Stranger => None,
        Kind::Candidate => Some(Peer { id: NodeId(0), role: Role::Server }),
        Kind::Edge => Some(Peer { id: ME, role: Role::Edge }),
        Kind::Relay => Some(Peer { id: ME, role: Role::Relay }),
        Kind::Server => Some(Peer { id: ME, role: Role::Server }),
    }
}

fn admission() -> Admission {
    Admission {
        name: NodeName::new("a").unwrap(),
        nonce: 1,
        role: Role::Edge,
        peer_addr: ([127, 0, 0, 1], 1).into(),
        client_urls: Vec::new(),
        version: String::new(),
        level: 1,
        token: None,
    }
}

fn contact(id: NodeId) -> Command {
    let peer_addr = ([127, 0, 0, 1], 1).into();
    let (client_urls, version) = (Vec::new(), String::new());
    Command::Contact { id, peer_addr, client_urls, version, level: 1 }
}

/// One of each command, by what it is for. A new variant does not compile until it has a place.
fn commands() -> [(&'static str, Vec<Command>); 5] {
    let applications = vec![
        Command::Put(Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::new(),
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }),
        Command::DeleteRange(DeleteRange {
            range: KeyRange::one(Bytes::from_static(b"k")),
            prev_kv: false,
        }),
        Command::Kv(KvCommand::DeleteTree { prefix: Bytes::new() }),
        Command::Compact(1),
        Command::LeaseGrant { id: LeaseId(1), ttl: Duration::from_secs(1) },
        Command::LeaseRevoke(LeaseId(1)),
        Command::Account(AccountCommand::Enable),
        Command::Acl(AclCommand::Disable),
        Command::Alarm { alarm: Alarm { kind: AlarmKind::Corrupt, member: ME }, on: true },
    ];
    let agents = vec![Command::Catalog(Vec::new())];
    let def = TokenDef { id: TokenId(1), role: Role::Edge, public: Bytes::new() };
    let operators = vec![
        Command::Admit(admission()),
        Command::Retire(ME),
        Command::Settings(Settings::default()),
        Command::Raise(2),
        Command::TokenPut(TokenPut { def, ttl: None, uses: None }),
        Command::TokenRetire(TokenId(1)),
        Command::Stage { id: 1, offset: 0, bytes: Bytes::new() },
        Command::Unstage(1),
        Command::Restore { id: 1, lineage: 1 },
    ];
    let leader = vec![
        Command::Found(Founding {
            cluster: 1,
            lineage: 1,
            settings: Settings::default(),
            founder: admission(),
            trust: Trust::default(),
            acl: None,
        }),
        Command::LeaseExpire { ids: Vec::new(), term: 1 },
        Command::Silent { nodes: Vec::new(), term: 1 },
        Command::Reap { nodes: Vec::new(), term: 1 },
        Command::Forget { tombstones: Stamp(0), history: Stamp(0) },
        Command::Recover { survivor: ME, lineage: 1 },
        Command::Checkpoint,
        Command::Relieve,
    ];
    let own = vec![contact(ME), contact(OTHER)];
    [
        ("applications", applications),
        ("agents", agents),
        ("operators", operators),
        ("leader", leader),
        ("own", own),
    ]
}

#[test]
fn an_edge_registers_in_its_own_name_what_is_on_its_node() {
    let (own, other) = (Folded::new("e1"), Folded::new("n1"));
    let gone = |node: &Folded| CatalogOp::RemoveNode(node.clone());
    let may = |kind, name: Option<&Folded>, nodes: &[&Folded]| {
        let ops = nodes.iter().map(|node| gone(node)).collect();
        may_register(peer(kind), name, &Command::Catalog(ops)).is_ok()
    };
    let name = Some(&own);
    assert!(may(Kind::Edge, name, &[]) && may(Kind::Edge, name, &[&own, &own]));
    assert!(!may(Kind::Edge, name, &[&other]) && !may(Kind::Edge, name, &[&own, &other]));
    assert!(!may(Kind::Edge, None, &[&own]), "who is no member has no node");
    assert!(may(Kind::Relay, name, &[&other]) && may(Kind::Server, name, &[&other]));
    // What somebody wants is judged by who that is.
    let wish = Command::Catalog(vec![gone(&other)]).by(Caller::Nobody);
    assert!(may_register(peer(Kind::Edge), name, &wish).is_ok());
}

fn secret() -> Secret {
    Secret(zeroize::Zeroizing::new("s".to_owned()))
}

fn proposal(command: &Command, reach: Reach) -> Ask {
    Ask::Propose { command: command.clone(), reach }
}

#[test]
fn commands_are_for_those_whose_work_they_are() {
    let may = |kind, command: &Command| {
        may_ask(peer(kind), Purpose::Door, &proposal(command, Reach::Cluster)).is_ok()
    };
    for (group, all) in commands() {
        for command in &all {
            for kind in KINDS {
                let expected = match (group, kind) {
                    (_, Kind::Stranger | Kind::Candidate) | ("leader", _) => false,
                    (_, Kind::Server) | ("agents", _) | ("own", Kind::Relay) => true,
                    ("own", Kind::Edge) => *command == contact(ME),
                    _ => false,
                };
                assert_eq!(may(kind, command), expected, "{kind:?}: {command:?}");
            }
        }
    }
    // For somebody: that it is anybody known, servers alone are believed.
    let user = Caller::User { name: "root".into(), generation: None };
    let callers = [Caller::Nobody, Caller::Bearer("t".into()), Caller::Stranger, user];
    for (group, all) in commands() {
        for (command, caller) in all.iter().flat_map(|command| {
            callers.iter().map(move |caller| (command.clone().by(caller.clone()), caller))
        }) {
            for kind in KINDS {
                let unproved = matches!(caller, Caller::Nobody | Caller::Bearer(_));
                let expected = match (group, kind) {
                    (_, Kind::Stranger | Kind::Candidate) | ("leader", _) => false,
                    (_, Kind::Server) | ("agents", _) | ("own", Kind::Relay) => true,
                    ("own", Kind::Edge) => matches!(
                        &command, Command::For(wish) if wish.command == contact(ME)
                    ),
                    ("applications", _) => unproved,
                    _ => false,
                };
                assert_eq!(may(kind, &command), expected, "{kind:?}: {command:?}");
            }
        }
    }
    let put = &commands()[0].1[0];
    for kind in KINDS {
        let may = may_ask(peer(kind), Purpose::Door, &proposal(put, Reach::Leader)).is_ok();
        assert_eq!(may, kind == Kind::Server, "{kind:?} asks the leader alone");
    }
}

#[test]
fn asks_are_for_those_whom_they_are_open_to_and_only_where_they_belong() {
    let introduction = Introduction {
        run: 1,
        cluster: 0,
        id: NodeId(0),
        addr: ([127, 0, 0, 1], 1).into(),
        wants_servers: false,
        others: Vec::new(),
        candidate: None,
    };
    let petition = Petition {
        token: TokenId(1),
        request: Vec::new(),
        admission: admission(),
        proof: Vec::new(),
    };
    let beats = |id| Ask::Confirm { pulses: vec![Pulse::Presence(id)], reach: Reach::Cluster };
    let lease = Ask::Confirm { pulses: vec![Pulse::Lease(LeaseId(1))], reach: Reach::Cluster };
    let compare = |id| {
        let (at, sum) = (Applied { term: 1, index: 1 }, Sum { shared: 1, server: 1 });
        Ask::Compare(Report { id, at, sum })
    };
    let login = Ask::Login { name: "root".to_owned(), password: secret() };
    let reveal = Ask::Reveal { accessor: AclId(1), token: secret() };
    let all: [(&str, Ask, &[Purpose], &[Kind]); 12] = [
        ("who", Ask::Who(introduction), &[Purpose::Door, Purpose::Entrance], &KINDS),
        ("join", Ask::Join(Box::new(petition)), &[Purpose::Entrance], &KINDS),
        ("renew", Ask::Renew { request: Vec::new() }, &[Purpose::Entrance], &KINDS[2..]),
        ("probe", Ask::Probe(OTHER), &[Purpose::Door], &[Kind::Server]),
        ("own sum", compare(ME), &[Purpose::Door], &[Kind::Server]),
        ("other's sum", compare(OTHER), &[Purpose::Door], &[]),
        ("own beat", beats(ME), &[Purpose::Door], &KINDS[2..]),
        ("other's beat", beats(OTHER), &[Purpose::Door], &KINDS[3..]),
        ("lease", lease, &[Purpose::Door], &KINDS[2..]),
        ("token", Ask::Identify(secret()), &[Purpose::Door], &KINDS[2..]),
        ("login", login, &[Purpose::Door], &KINDS[2..]),
        ("reveal", reveal, &[Purpose::Door], &KINDS[2..]),
    ];
    for (what, ask, purposes, kinds) in &all {
        for purpose in PURPOSES {
            for kind in KINDS {
                let expected = purposes.contains(&purpose) && kinds.contains(&kind);
                let may = may_ask(peer(kind), purpose, ask);
                assert_eq!(may.is_ok(), expected, "{what}, {kind:?}, {purpose:?}: {may:?}");
            }
        }
    }
}

#[test]
fn connections_are_opened_by_and_to_the_right_kinds() {
    let from: BTreeSet<(usize, usize)> = pairs(may_open);
    // Columns: stranger, candidate, edge, relay, server; rows: the purposes in order.
    let expected = ["....s", "....s", "..ers", "..er.", "scers"];
    assert_eq!(from, drawn(expected));
    let to = pairs(may_serve);
    assert_eq!(to, drawn(["....s", "....s", "...rs", "...rs", ".c.rs"]));
}

fn pairs(rule: fn(Kind, Purpose) -> bool) -> BTreeSet<(usize, usize)> {
    let all = PURPOSES.iter().enumerate().flat_map(|(row, purpose)| {
        KINDS.iter().enumerate().map(move |(column, kind)| (row, column, *kind, *purpose))
    });
    all.filter(|(.., kind, purpose)| rule(*kind, *purpose)).map(|(r, c, ..)| (r, c)).collect()
}

fn drawn(rows: [&str; 5]) -> BTreeSet<(usize, usize)> {
    let cells = rows.iter().enumerate().flat_map(|(row, cells)| {
        cells.chars().enumerate().map(move |(column, cell)| (row, column, cell))
    });
    cells.filter(|(.., cell)| *cell != '.').map(|(row, column, _)| (row, column)).collect()
}

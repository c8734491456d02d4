//! Streams taken in, in every order in which a network can give them.

use std::net::SocketAddr;

use bytes::Bytes;

use super::choice::{Candidate, Rank, order, rank, unfit};
use super::comparison::Comparison;
use super::intake::{Intake, Unfit};
use super::wire::{Follow, Frame, Pulse};
use crate::model::{Applied, NodeId, NodeName, Role, Stamp};
use crate::replica::{self, Checksum, Writer};
use crate::state::{
    Admission, Change, Changes, Command, Founding, Identity, KvCommand, LEVEL, Outcome, Part,
    Proposal, Settings,
};
use crate::telemetry::Counter;

#[test]
fn frames_come_out_as_they_went_in_and_garbage_as_an_error() {
    let changes = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
    let pulse = Pulse { id: NodeId(3), term: 4, voters: vec![NodeId(1)], ..Pulse::default() };
    let frames = [
        Frame::Snapshot(17),
        Frame::Chunk(Bytes::from_static(b"chunk")),
        Frame::Changes(changes),
        Frame::Pulse(pulse),
        Frame::Behind(Applied { term: 1, index: 9 }),
        Frame::Declined("full".to_owned()),
        Frame::Agreed(Checksum { at: Applied { term: 1, index: 9 }, sum: 7 }),
    ];
    for frame in frames {
        let bytes = frame.encode();
        assert_eq!(Frame::decode(bytes.clone()), Ok(frame.clone()));
        for end in 0..bytes.len() {
            // Whatever a cut frame is taken for, nothing panics; a cut chunk is a shorter chunk.
            let _ = Frame::decode(bytes.slice(..end));
        }
    }
    assert!(Frame::decode(Bytes::new()).is_err());
    assert!(Frame::decode(Bytes::from_static(&[99, 1])).is_err());
    assert!(Frame::decode(Bytes::from_static(&[3, 255, 255, 255, 255, 0, 0, 0, 0, 1])).is_err());
}

#[test]
fn followers_spread_over_the_best_and_those_that_failed_come_last() {
    let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let candidate = |port, rank, failed| Candidate { addr: addr(port), rank, failed };
    let all = vec![
        candidate(1, Rank::Third, false),
        candidate(2, Rank::First, false),
        candidate(3, Rank::First, true),
        candidate(4, Rank::First, false),
        candidate(4, Rank::Second, false),
        candidate(5, Rank::Second, false),
    ];
    let mut firsts = std::collections::BTreeSet::new();
    for dice in 0..20 {
        let ports: Vec<u16> = order(all.clone(), dice).iter().map(SocketAddr::port).collect();
        assert_eq!(ports[2..], [5, 1, 3]);
        firsts.insert(ports[0]);
    }
    assert_eq!(firsts, [2, 4].into(), "followers spread");
    assert_eq!(order(vec![], 7), vec![]);
}

#[test]
fn edges_spare_the_servers_and_the_leader_most_and_relays_stay_close_to_them() {
    use Role::{Edge, Relay, Server};
    let rising = |mine, all: [(Role, bool); 3]| {
        let ranks = all.map(|(theirs, leads)| rank(mine, theirs, leads));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{mine:?}: {ranks:?}");
    };
    rising(Edge, [(Relay, false), (Server, false), (Server, true)]);
    rising(Relay, [(Server, false), (Server, true), (Relay, false)]);
}

#[test]
fn changes_pass_three_relays_at_most_and_never_run_in_a_circle() {
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let me = NodeId(9);
    for (path, edge, relay) in [
        (ids(&[]), true, true),
        (ids(&[1, 2]), true, true),
        (ids(&[1, 2, 3]), true, false),
        (ids(&[1, 2, 3, 4]), false, false),
        (ids(&[9]), false, false),
        (ids(&[1, 9]), false, false),
    ] {
        assert_eq!(unfit(me, Role::Edge, &path).is_none(), edge, "{path:?}");
        assert_eq!(unfit(me, Role::Relay, &path).is_none(), relay, "{path:?}");
    }
}

#[test]
fn what_is_beyond_an_agents_level_is_not_taken_in() {
    let (mut source, mut edge) = (Source::new(9, 1), edge());
    for frame in source.snapshot() {
        edge.take(frame).unwrap();
    }
    let raised = source.changed(Change::Identity(Identity {
        level: LEVEL + 1,
        ..source.writer.state().identity().clone()
    }));
    let outdated = Unfit::Outdated { spoken: LEVEL, current: LEVEL + 1 };
    assert_eq!(edge.take(tail(&[raised])), Err(outdated));
    assert_eq!(edge.state().identity().level, LEVEL);
    let [begin, half, rest] = source.snapshot();
    edge.take(begin).unwrap();
    edge.take(half).unwrap();
    assert!(matches!(edge.take(rest), Err(Unfit::Outdated { .. })));
    assert_eq!(edge.state().identity().level, LEVEL, "snapshots carry it");
}

/// A server's side: what it has, and what it pushes.
struct Source {
    writer: Writer,
}

impl Source {
    fn new(cluster: u128, lineage: u64) -> Source {
        let (writer, _) = replica::new(Part::Server);
        let mut source = Source { writer };
        let founder = Admission {
            name: NodeName::new("s1").unwrap(),
            nonce: 1,
            role: Role::Server,
            peer_addr: ([127, 0, 0, 1], 1).into(),
            client_urls: vec![],
            version: String::new(),
            level: LEVEL,
            token: None,
        };
        let settings = Settings::default();
        source.apply(Command::Found(Founding {
            cluster,
            lineage,
            settings,
            founder,
            trust: Default::default(),
            acl: None,
        }));
        source
    }

    fn apply(&mut self, command: Command) -> Bytes {
        let at = Applied { term: 1, index: self.writer.state().applied().index + 1 };
        let before = self.writer.state().clone();
        let proposal = Proposal { stamp: Stamp(at.index), command };
        let changes: Changes = before.apply(at, &proposal).1;
        assert!(!matches!(self.writer.apply(at, &proposal), Outcome::Refused(_)));
        postcard::to_stdvec(&changes).unwrap().into()
    }

    /// As another release might decide.
    fn changed(&mut self, change: Change) -> Bytes {
        let at = Applied { term: 1, index: self.writer.state().applied().index + 1 };
        let changes = Changes { rows: vec![change], ..self.writer.state().blank(at) };
        self.writer.absorb(changes.clone());
        postcard::to_stdvec(&changes).unwrap().into()
    }

    fn put(&mut self, key: &'static str) -> Bytes {
        let key = Bytes::from_static(key.as_bytes());
        self.apply(Command::Kv(KvCommand::Set { key, value: Bytes::new(), flags: 0, cas: None }))
    }

    fn snapshot(&self) -> [Bytes; 3] {
        let bytes = Bytes::from(self.writer.state().encode(Part::Shared));
        let half = bytes.len() / 2;
        [
            Frame::Snapshot(bytes.len() as u64).encode(),
            Frame::Chunk(bytes.slice(..half)).encode(),
            Frame::Chunk(bytes.slice(half..)).encode(),
        ]
    }
}

fn follow(cluster: u128, lineage: u64, applied: Applied) -> Follow {
    Follow { cluster, lineage, applied, anew: false, relay: false }
}

fn edge() -> Intake {
    let comparison = Comparison::new(Counter::default());
    Intake::new(replica::new(Part::Shared).0, false, LEVEL, comparison)
}

fn tail(changes: &[Bytes]) -> Bytes {
    Frame::Changes(changes.to_vec()).encode()
}

#[test]
fn a_snapshot_and_the_tail_behind_it_give_the_servers_state() {
    let (mut source, mut edge) = (Source::new(9, 1), edge());
    assert_eq!(edge.position(), follow(0, 0, Applied::default()));
    let early = source.put("early");
    for frame in source.snapshot() {
        edge.take(frame).unwrap();
    }
    let (late, later) = (source.put("late"), source.put("later"));
    // What was in the snapshot already is let go by.
    edge.take(tail(&[early, late.clone()])).unwrap();
    edge.take(tail(&[late, later])).unwrap();
    assert_eq!(edge.state().checksum(Part::Shared), source.writer.state().checksum(Part::Shared));
    assert_eq!(edge.position(), follow(9, 1, source.writer.state().applied()));
}

#[test]
fn half_a_snapshot_is_worth_nothing_and_a_gap_is_not_stepped_over() {
    let (mut source, mut edge) = (Source::new(9, 1), edge());
    let [begin, half, rest] = source.snapshot();
    edge.take(begin).unwrap();
    edge.take(half).unwrap();
    edge.begin();
    assert!(edge.take(rest).is_err(), "a new stream begins with nothing");
    for frame in source.snapshot() {
        edge.take(frame).unwrap();
    }
    let _lost = source.put("lost");
    let next = source.put("next");
    assert_eq!(edge.take(tail(&[next])), Err(Unfit::Gap { from: 1, to: 3 }));
    assert!(edge.position().anew, "a snapshot is asked for");
    for frame in source.snapshot() {
        edge.take(frame).unwrap();
    }
    assert_eq!(edge.state().checksum(Part::Shared), source.writer.state().checksum(Part::Shared));
    assert_eq!(edge.position().applied, source.writer.state().applied());
}

#[test]
fn nobody_goes_back_but_into_another_lineage() {
    let (mut source, mut edge) = (Source::new(9, 1), edge());
    let old = source.snapshot();
    source.put("a");
    for frame in source.snapshot() {
        edge.take(frame).unwrap();
    }
    let [begin, half, rest] = old;
    edge.take(begin).unwrap();
    edge.take(half).unwrap();
    assert_eq!(edge.take(rest), Err(Unfit::Behind(1)));
    assert!(edge.state().key(b"a").is_some());
    let behind = Frame::Behind(Applied { term: 1, index: 1 }).encode();
    assert_eq!(edge.take(behind), Err(Unfit::Behind(1)));
    for frame in Source::new(9, 2).snapshot() {
        edge.take(frame).unwrap();
    }
    assert!(edge.state().key(b"a").is_none(), "a restore begins anew");
}

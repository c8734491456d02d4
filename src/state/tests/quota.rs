//! The quota and the alarms: what is counted is what is there, and what gives way to what.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::{LeaseId, NodeId, SessionId, Stamp, limits};
use crate::state::{
    Alarm, AlarmKind, CatalogOp, Command, DeleteRange, KeyRange, KvCommand, NodeDef, Outcome, Part,
    Put, Refusal, SessionDef, Settings, State, Txn, TxnOp,
};

use super::Told;
use super::commands::key_command;

const VERSION: u64 = 128;
const LEASE: u64 = 128;

/// What the tables weigh, counted row by row.
fn recount(state: &State) -> (u64, u64) {
    let weight = |key: &Bytes, value: usize| VERSION + (key.len() + value) as u64;
    let leases = state.leases().count() as u64 * LEASE;
    let keys: u64 = state.keys.iter().map(|(key, row)| weight(key, row.value.len())).sum();
    let versions = state.history.iter().flat_map(|history| &history.versions);
    let versions: u64 = versions
        .map(|((key, _), row)| weight(key, row.as_ref().map_or(0, |row| row.value.len())))
        .sum();
    (leases + keys, leases + versions.max(keys))
}

fn with_quota(quota: u64) -> Told {
    let mut told = Told::founded();
    let mut settings = told.state.identity().settings.clone();
    settings.quota = quota;
    told.tell(Stamp(0), Command::Settings(settings));
    told
}

fn put(key: &str, len: usize) -> Command {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(vec![b'x'; len]));
    let lease = LeaseId::NONE;
    Command::Put(Put {
        key,
        value,
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn delete(key: &str) -> Command {
    let range = KeyRange::one(Bytes::from(key.to_owned()));
    Command::DeleteRange(DeleteRange { range, prev_kv: false })
}

fn set(key: &str) -> Command {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from_static(b"v"));
    Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None })
}

fn grant(id: i64) -> Command {
    Command::LeaseGrant { id: LeaseId(id), ttl: Duration::from_secs(60) }
}

fn txn(ops: Vec<TxnOp>) -> Command {
    Command::Txn(Txn { success: ops, ..Txn::default() })
}

fn put_inside(key: &str) -> Command {
    let Command::Put(put) = put(key, 1) else { unreachable!() };
    let inner = Txn { failure: vec![TxnOp::Put(put)], ..Txn::default() };
    txn(vec![TxnOp::Txn(inner)])
}

fn raised(state: &State) -> Vec<(AlarmKind, u64)> {
    state.alarms().map(|alarm| (alarm.kind, alarm.member.0)).collect()
}

const NO_SPACE: Outcome = Outcome::Refused(Refusal::NoSpace);
const OURS: [(AlarmKind, u64); 1] = [(AlarmKind::NoSpace, 1)];

/// 19 keys of 500 bytes each, of 10,000 that are allowed.
fn nearly_full() -> Told {
    let mut told = with_quota(10_000);
    for n in 0..19 {
        let outcome = told.tell(Stamp(0), put(&format!("k{n:02}"), 369));
        assert!(matches!(outcome, Outcome::Put { .. }));
    }
    assert_eq!(told.state.live_size(), 9_500);
    told
}

#[test]
fn what_does_not_fit_is_refused_until_a_tenth_is_free() {
    let mut told = nearly_full();
    let revision = told.state.revision();
    assert_eq!(told.tell(Stamp(0), put("more", 369)), NO_SPACE, "501 bytes do not fit");
    assert_eq!((told.state.revision(), raised(&told.state)), (revision, OURS.to_vec()));
    // It would fit, but the alarm stands; so it does for everything that grows.
    for command in [put("x", 1), set("x"), grant(7), put_inside("x")] {
        assert_eq!(told.tell(Stamp(0), command.clone()), NO_SPACE, "{command:?}");
    }
    assert!(matches!(told.tell(Stamp(0), delete("nothing")), Outcome::Deleted { count: 0, .. }));
    assert_eq!(told.tell(Stamp(0), Command::Compact(2)), Outcome::Done);
    assert_eq!(raised(&told.state), OURS);
    assert!(matches!(told.tell(Stamp(0), delete("k00")), Outcome::Deleted { count: 1, .. }));
    assert_eq!(raised(&told.state), [], "a tenth is free");
    assert!(matches!(told.tell(Stamp(0), put("more", 369)), Outcome::Put { .. }));
}

#[test]
fn exactly_the_quota_fits_and_a_key_that_is_put_anew_counts_once() {
    let mut told = nearly_full();
    assert!(matches!(told.tell(Stamp(0), put("more", 368)), Outcome::Put { .. }));
    assert_eq!(told.state.live_size(), 10_000);
    for _ in 0..100 {
        assert!(matches!(told.tell(Stamp(0), put("more", 368)), Outcome::Put { .. }));
    }
    assert_eq!(told.tell(Stamp(0), grant(7)), NO_SPACE, "a lease weighs something, too");
}

#[test]
fn a_larger_quota_ends_the_alarm_and_so_does_the_end_of_a_lease() {
    let mut told = nearly_full();
    told.tell(Stamp(0), put("more", 369));
    let mut settings = told.state.identity().settings.clone();
    settings.quota = 20_000;
    told.tell(Stamp(0), Command::Settings(settings));
    assert_eq!(raised(&told.state), []);
    for id in 1..=8 {
        assert_eq!(told.tell(Stamp(0), grant(id)), Outcome::Done);
    }
    assert_eq!(told.state.live_size(), 9_500 + 8 * LEASE);
    assert_eq!(told.tell(Stamp(0), put("huge", 12_000)), NO_SPACE);
    assert_eq!(raised(&told.state), [], "there is room for others");
    assert!(matches!(told.tell(Stamp(0), put("large", 8_000)), Outcome::Put { .. }));
    assert_eq!(told.tell(Stamp(0), put("more", 2_000)), NO_SPACE);
    assert_eq!(raised(&told.state), OURS);
    let ids = (1..=6).map(LeaseId).collect();
    told.tell(Stamp(0), Command::LeaseExpire { ids, term: 1 });
    assert_eq!(raised(&told.state), []);
}

#[test]
fn the_past_makes_room_before_a_write_is_refused() {
    let quota = 100_000;
    let mut told = with_quota(quota);
    for n in 0..5_000 {
        let outcome = told.tell(Stamp(0), put(&format!("k{}", n % 7), 300));
        assert!(matches!(outcome, Outcome::Put { .. }), "the {n}th");
        assert!(told.state.size() <= quota + quota / 64 + 1_000, "{}", told.state.size());
    }
    let history = told.state.history().unwrap();
    assert!(history.compacted() > 4_000, "{}", history.compacted());
    assert!(history.compacted() < told.state.revision() - 100, "no more goes than has to");
    assert_eq!(raised(&told.state), []);
}

#[test]
fn under_pressure_the_oldest_of_the_past_goes_in_steps() {
    let mut told = with_quota(1_000_000);
    assert_eq!(told.tell(Stamp(0), Command::Relieve), Outcome::Done);
    let index = told.state.index();
    for n in 0..6_700 {
        // Half of them make a key, which is nothing that giving up the past could free.
        let key = if n % 2 == 0 { format!("k{n}") } else { "same".to_owned() };
        told.tell(Stamp(0), put(&key, 10));
        assert!(told.state.size() < 1_000_000);
    }
    assert!(told.state.is_pressed());
    let before = told.state.size();
    let mut steps = 0;
    while told.state.is_pressed() {
        let compacted = told.state.history().unwrap().compacted();
        told.tell(Stamp(0), Command::Relieve);
        let now = told.state.history().unwrap().compacted();
        assert!(now > compacted && now <= compacted + 4 * 1024 + 1, "{compacted} to {now}");
        steps += 1;
    }
    assert!(steps > 0 && told.state.size() < before);
    assert!(told.state.index() > index);
    let index = told.state.index();
    told.tell(Stamp(0), Command::Relieve);
    assert_eq!(told.state.index(), index, "without pressure nothing goes");
}

fn alarm(kind: AlarmKind, member: u64, on: bool) -> Command {
    Command::Alarm { alarm: Alarm { kind, member: NodeId(member) }, on }
}

#[test]
fn an_alarm_of_a_client_stays_until_a_client_ends_it() {
    let mut told = with_quota(limits::QUOTA);
    let on = alarm(AlarmKind::NoSpace, 77, true);
    for _ in 0..2 {
        assert_eq!(told.tell(Stamp(0), on.clone()), Outcome::Alarm(true));
    }
    assert_eq!(told.tell(Stamp(0), put("x", 1)), NO_SPACE);
    told.tell(Stamp(0), delete("x"));
    assert_eq!(raised(&told.state), [(AlarmKind::NoSpace, 77)], "and the quota raises no other");
    let other = alarm(AlarmKind::NoSpace, 1, false);
    assert_eq!(told.tell(Stamp(0), other), Outcome::Alarm(false));
    let off = alarm(AlarmKind::NoSpace, 77, false);
    assert_eq!(told.tell(Stamp(0), off.clone()), Outcome::Alarm(true));
    assert_eq!(told.tell(Stamp(0), off), Outcome::Alarm(false));
    assert!(matches!(told.tell(Stamp(0), put("x", 1)), Outcome::Put { .. }));
}

#[test]
fn one_that_the_quota_raised_is_the_clients_once_it_has_raised_it_too() {
    let mut told = nearly_full();
    told.tell(Stamp(0), put("more", 1_000));
    told.tell(Stamp(0), alarm(AlarmKind::NoSpace, 1, true));
    told.tell(Stamp(0), delete("k00"));
    told.tell(Stamp(0), delete("k01"));
    assert_eq!(raised(&told.state), OURS);
}

#[test]
fn a_corrupt_cluster_takes_no_write_but_ends_leases() {
    let mut told = with_quota(limits::QUOTA);
    told.tell(Stamp(0), grant(7));
    told.tell(Stamp(0), put("k", 1));
    told.tell(Stamp(0), alarm(AlarmKind::Corrupt, 1, true));
    let Command::DeleteRange(range) = delete("k") else { unreachable!() };
    let writes = [
        put("x", 1),
        delete("k"),
        set("x"),
        Command::Kv(KvCommand::DeleteTree { prefix: Bytes::new() }),
        Command::Compact(2),
        grant(8),
        Command::LeaseRevoke(LeaseId(9)),
        txn(vec![TxnOp::Delete(range)]),
    ];
    let before = told.state.clone();
    for command in writes {
        let outcome = told.tell(Stamp(0), command.clone());
        assert_eq!(outcome, Outcome::Refused(Refusal::Corrupt), "{command:?}");
    }
    assert_eq!(told.state.index(), before.index());
    told.tell(Stamp(0), Command::LeaseExpire { ids: vec![LeaseId(7)], term: 1 });
    assert_eq!(told.state.leases().count(), 0);
    assert_eq!(told.tell(Stamp(0), alarm(AlarmKind::Corrupt, 1, false)), Outcome::Alarm(true));
    assert_eq!(told.tell(Stamp(0), Command::Compact(2)), Outcome::Done);
}

#[test]
fn no_more_alarms_are_kept_than_the_table_may_hold() {
    let mut told = with_quota(limits::QUOTA);
    for member in 0..limits::ALARMS as u64 {
        told.tell(Stamp(0), alarm(AlarmKind::NoSpace, member, true));
    }
    let refused = Outcome::Refused(Refusal::TooManyAlarms(limits::ALARMS));
    assert_eq!(told.tell(Stamp(0), alarm(AlarmKind::Corrupt, 0, true)), refused);
    let again = alarm(AlarmKind::NoSpace, 0, true);
    assert_eq!(told.tell(Stamp(0), again), Outcome::Alarm(true));
}

#[test]
fn the_hash_of_a_revision_is_the_same_before_and_after_a_compaction() {
    let mut told = with_quota(limits::QUOTA);
    for command in [put("a", 1), put("b", 1), put("a", 2), delete("b"), put("c", 1)] {
        told.tell(Stamp(0), command);
    }
    let hash = |told: &Told, revision| told.state.key_hash(revision).map(|hash| hash.hash);
    let before: Vec<u32> = (1..=6).map(|revision| hash(&told, revision).unwrap()).collect();
    let mut different = before.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), before.len(), "{before:?}");
    assert_eq!(told.state.key_hash(0).unwrap(), told.state.key_hash(6).unwrap());
    assert_eq!(told.state.key_hash(4).unwrap().compacted, 0);

    told.tell(Stamp(0), Command::Compact(2));
    told.tell(Stamp(0), Command::Compact(4));
    for (revision, compacted) in [(4, 2), (5, 4), (6, 4)] {
        let now = told.state.key_hash(revision).unwrap();
        assert_eq!((now.hash, now.compacted), (before[revision as usize - 1], compacted));
    }
    assert!(told.state.key_hash(3).is_err() && told.state.key_hash(7).is_err());
    let bytes = told.state.encode(Part::Server);
    let again = State::decode(&bytes, Part::Server).unwrap();
    assert_eq!(again.key_hash(4), told.state.key_hash(4));
    assert!(State::decode(&bytes, Part::Shared).unwrap().key_hash(0).is_err());
}

proptest! {
    #[test]
    fn what_is_counted_is_what_is_there(
        commands in proptest::collection::vec(key_command(), 1..60),
        quota in 300..3_000u64,
    ) {
        let mut told = with_quota(quota);
        let mut edge = State::decode(&told.state.encode(Part::Server), Part::Shared).unwrap();
        for command in commands {
            let before = told.state.clone();
            let outcome = told.tell(Stamp(0), command.clone());
            edge.absorb(&told.entries.last().unwrap().shared());
            let state = &told.state;
            prop_assert_eq!((state.live_size(), state.size()), recount(state));
            prop_assert_eq!((edge.live_size(), edge.size()), recount(&edge));
            prop_assert_eq!(edge.live_size(), state.live_size());
            prop_assert_eq!(raised(&edge), raised(state));
            let open = before.alarms().next().is_none();
            if outcome == NO_SPACE {
                let full = state.live_size() > quota - quota / 10;
                prop_assert_eq!(!raised(state).is_empty(), full);
                prop_assert!(open || full, "where there is room, no alarm stands in the way");
                prop_assert_eq!(state.revision(), before.revision());
                // With room for it, it would have gone through.
                let mut wide = Told { state: before.clone(), entries: Vec::new() };
                let mut settings = before.identity().settings.clone();
                settings.quota = limits::QUOTA;
                wide.tell(Stamp(0), Command::Settings(settings));
                wide.tell(Stamp(0), command);
                prop_assert!(!open || wide.state.live_size() > quota);
            } else if open {
                let grew = state.live_size() > before.live_size();
                prop_assert!(!grew || state.live_size() <= quota);
                prop_assert!(raised(state).is_empty());
            }
        }
        let bytes = told.state.encode(Part::Server);
        let again = State::decode(&bytes, Part::Server).unwrap();
        prop_assert_eq!(again.size(), told.state.size());
        prop_assert_eq!(raised(&again), raised(&told.state));
        prop_assert_eq!(&again.history, &told.state.history);
    }
}

/// One without a presence, for sessions to live on.
fn node() -> CatalogOp {
    CatalogOp::PutNode(NodeDef {
        name: "n".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::ZERO,
    })
}

#[test]
fn sessions_and_delays_weigh_and_their_end_gives_room_again() {
    let mut told = with_quota(limits::QUOTA);
    told.tell(Stamp(0), Command::Catalog(vec![node()]));
    let session = SessionDef {
        name: "x".repeat(1_000),
        lock_delay: 1_000_000_000,
        ..super::sessions::session(1, "n", &[])
    };
    let empty = told.state.live_size();
    told.tell(Stamp(0), Command::SessionCreate(session.clone()));
    assert!(told.state.live_size() > empty + 1_000);
    let (key, value) = (Bytes::from("held"), Bytes::from("v"));
    let acquire = KvCommand::Acquire { key: key.clone(), value, flags: 0, session: SessionId(1) };
    told.tell(Stamp(0), Command::Kv(acquire.clone()));
    told.tell(Stamp(0), Command::Kv(KvCommand::Delete { key, cas: None }));
    told.tell(Stamp(0), Command::Kv(acquire));
    told.tell(Stamp(0), Command::SessionDestroy(SessionId(1)));
    told.tell(Stamp(0), delete("held"));
    assert!(told.state.live_size() > empty, "the delay is still there");
    let delays: Vec<_> =
        told.state.lock_delays().map(|(key, delay)| (key.clone(), delay.index)).collect();
    told.tell(Stamp(0), Command::LockDelayEnd { delays, term: 1 });
    assert_eq!(told.state.live_size(), empty);
    let tight = Settings { quota: empty + 500, ..told.state.identity().settings.clone() };
    told.tell(Stamp(0), Command::Settings(tight));
    assert_eq!(told.tell(Stamp(0), Command::SessionCreate(session)), NO_SPACE);
    assert_eq!(told.state.sessions().count(), 0);
}

#[test]
fn a_key_is_let_go_without_room_but_not_for_a_larger_value() {
    let mut told = with_quota(10_000);
    for n in 0..17 {
        told.tell(Stamp(0), put(&format!("k{n:02}"), 369));
    }
    told.tell(Stamp(0), Command::Catalog(vec![node()]));
    let session = super::sessions::session(1, "n", &[]);
    assert_eq!(told.tell(Stamp(0), Command::SessionCreate(session)), Outcome::Done);
    let hold = |value: usize, takes: bool| {
        let (key, value) = (Bytes::from("held"), Bytes::from(vec![b'x'; value]));
        let session = SessionId(1);
        Command::Kv(match takes {
            true => KvCommand::Acquire { key, value, flags: 0, session },
            false => KvCommand::Release { key, value, flags: 0, session },
        })
    };
    assert_eq!(told.tell(Stamp(0), hold(1, true)), Outcome::Kv(true));
    assert_eq!(told.tell(Stamp(0), put("more", 1_000_000)), NO_SPACE);
    assert!(told.state.has_alarm(AlarmKind::NoSpace));
    assert_eq!(told.tell(Stamp(0), hold(1, true)), NO_SPACE, "nothing is taken meanwhile");
    assert_eq!(told.tell(Stamp(0), hold(1_000_000, false)), NO_SPACE);
    assert_eq!(told.tell(Stamp(0), hold(1, false)), Outcome::Kv(true));
    assert_eq!(told.state.key(b"held").unwrap().holder(), None);
}

//! What followers find behind their position.

use crate::model::{Applied, Role, TokenId, limits};
use crate::replica::Fetch;
use crate::state::{Changes, Command, Part, State, TokenDef, TokenPut};

use super::{founded, put, run};

fn tail(fetch: Fetch) -> Vec<u64> {
    match fetch {
        Fetch::Tail(entries) => entries.iter().map(|e| e.changes.applied.index).collect(),
        Fetch::Snapshot => panic!("the ring has lost what was asked for"),
    }
}

fn at(index: u64) -> Applied {
    Applied { term: 1, index }
}

#[test]
fn a_follower_gets_everything_after_its_position_in_order() {
    let (mut writer, replica) = founded();
    for n in 0..5 {
        run(&mut writer, put("a", &n.to_string()));
    }
    assert_eq!(tail(replica.feed().after(at(3), 10)), [4, 5, 6]);
    assert_eq!(tail(replica.feed().after(at(3), 2)), [4, 5]);
    assert_eq!(tail(replica.feed().after(at(6), 2)), [0; 0]);
    assert_eq!(tail(replica.feed().after(Applied::default(), 1)), [1]);
    assert_eq!(*replica.feed().tick().borrow(), at(6));
}

#[test]
fn what_a_follower_absorbs_makes_the_same_state() {
    let (mut writer, replica) = founded();
    for n in 0..5 {
        run(&mut writer, put("a", &n.to_string()));
    }
    let (mut follower, edge) = crate::replica::new(Part::Shared);
    let Fetch::Tail(entries) = replica.feed().after(Applied::default(), 100) else { panic!() };
    for entry in entries {
        follower.absorb(postcard::from_bytes(entry.encoded()).unwrap());
    }
    follower.publish();
    assert_eq!(edge.snapshot().checksum(Part::Shared), replica.snapshot().checksum(Part::Shared));
}

#[test]
fn who_stands_outside_the_ring_takes_a_snapshot() {
    let (mut writer, replica) = founded();
    assert!(matches!(replica.feed().after(at(99), 1), Fetch::Snapshot));
    let bytes = writer.state().encode(Part::Server);
    let state = State::decode(&bytes, Part::Server).unwrap();
    run(&mut writer, put("a", "1"));
    writer.install(state);
    assert!(matches!(replica.feed().after(at(0), 1), Fetch::Snapshot));
    assert_eq!(tail(replica.feed().after(at(1), 1)), [0; 0]);
}

#[test]
fn the_ring_is_bounded_in_entries() {
    let (mut writer, replica) = founded();
    for _ in 0..limits::RING_ENTRIES + 10 {
        let next = Applied { term: 1, index: writer.state().applied().index + 1 };
        writer.blank(next);
    }
    writer.publish();
    assert!(matches!(replica.feed().after(at(10), 1), Fetch::Snapshot));
    assert_eq!(tail(replica.feed().after(at(11), 1)), [12]);
}

#[test]
fn the_ring_is_bounded_in_bytes() {
    let (mut writer, replica) = founded();
    let large = "x".repeat(limits::KV_VALUE);
    let fitting = limits::RING_BYTES / limits::KV_VALUE;
    for _ in 0..fitting {
        run(&mut writer, put("a", &large));
    }
    assert!(matches!(replica.feed().after(at(1), 1), Fetch::Snapshot));
    let end = writer.state().applied();
    assert_eq!(tail(replica.feed().after(at(end.index - 1), 1)), [end.index]);
}

/// Join tokens never leave servers, but the position moves on.
#[test]
fn what_travels_holds_no_token() {
    let (mut writer, replica) = founded();
    let def = TokenDef { id: TokenId(5), role: Role::Edge, public: vec![7; 65].into() };
    run(&mut writer, Command::TokenPut(TokenPut { def, ttl: None, uses: None }));
    assert!(replica.snapshot().token(TokenId(5)).is_some());
    let Fetch::Tail(entries) = replica.feed().after(at(1), 10) else { panic!() };
    let sent: Changes = postcard::from_bytes(entries[0].encoded()).unwrap();
    assert_eq!((sent.rows.len(), sent.applied, sent.index), (0, at(2), 2));
}

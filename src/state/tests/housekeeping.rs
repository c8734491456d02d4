//! The bounds of what is remembered.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{LeaseId, Stamp, limits};
use crate::state::{Change, Command, Key, KeyRow, KvCommand, Outcome};

use super::Told;

fn key(n: usize) -> Key {
    format!("k{n:07}").into()
}

/// A state with `count` keys, all put by one entry.
fn filled(count: usize) -> Told {
    let mut told = Told::founded();
    let mut changes = told.entries.remove(0);
    changes.applied.index += 1;
    changes.revision += 1;
    let (create, modified) = (changes.revision, changes.revision);
    let (value, lease) = (Bytes::from_static(b"1"), LeaseId::NONE);
    let row = Arc::new(KeyRow { value, create, modified, version: 1, lease, flags: 0, lock: None });
    changes.rows = (0..count).map(|n| Change::Key(key(n), Some(row.clone()))).collect();
    told.state.absorb(&changes);
    told
}

#[test]
fn no_more_deletions_are_remembered_than_the_table_may_hold() {
    let surplus = 3;
    let mut told = filled(limits::TOMBSTONES + surplus);
    for n in 0..surplus {
        told.tell(Stamp(0), Command::Kv(KvCommand::Delete { key: key(n), cas: None }));
    }
    let floor = told.state.revision();
    let prefix = Bytes::from_static(b"k");
    told.tell(Stamp(0), Command::Kv(KvCommand::DeleteTree { prefix }));
    let forget = Command::Forget { tombstones: Stamp(0), history: Stamp(0) };
    assert_eq!(told.tell(Stamp(0), forget.clone()), Outcome::Done);
    assert_eq!(told.state.tombstones.len(), limits::TOMBSTONES);
    assert_eq!(told.state.deletions.len(), limits::TOMBSTONES);
    assert_eq!(told.state.deletion_floor(), floor);
    let index = told.state.index();
    told.tell(Stamp(0), forget);
    assert_eq!(told.state.index(), index, "nothing more to forget is no change");
}

//! The bounds of what is remembered.

use bytes::Bytes;

use crate::model::{Stamp, limits};
use crate::state::{Command, KvCommand, Outcome};

use super::Told;

fn set(key: String) -> Command {
    let (key, value) = (Bytes::from(key), Bytes::from_static(b"1"));
    Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None })
}

#[test]
fn no_more_deletions_are_remembered_than_the_table_may_hold() {
    let mut told = Told::founded();
    let surplus = 3;
    for n in 0..limits::TOMBSTONES + surplus {
        told.tell(Stamp(0), set(format!("k{n:07}")));
    }
    let filled = told.state.revision();
    for n in 0..limits::TOMBSTONES + surplus {
        let key = Bytes::from(format!("k{n:07}"));
        told.tell(Stamp(0), Command::Kv(KvCommand::Delete { key, cas: None }));
    }
    let forget = Command::Forget { tombstones: Stamp(0), history: Stamp(0) };
    assert_eq!(told.tell(Stamp(0), forget.clone()), Outcome::Done);
    assert_eq!(told.state.tombstones.len(), limits::TOMBSTONES);
    assert_eq!(told.state.deletions.len(), limits::TOMBSTONES);
    assert_eq!(told.state.deletion_floor(), filled + surplus as i64);
    let index = told.state.index();
    told.tell(Stamp(0), forget);
    assert_eq!(told.state.index(), index, "nothing more to forget is no change");
}

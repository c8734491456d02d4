//! Who watches: recorders of all keys, and heralds of the keys that hang on leases.

use crate::clients::PREFIX;
use crate::history::Watch;
use crate::wire::Way;

use super::board::Board;
use super::follower::{Follower, Told};
use super::{Caller, leases, locks};

/// Everything that ever was: nothing of it has been compacted.
const BEGINNING: u64 = 1;

/// Records what a watch of all keys is told.
pub async fn recorder(caller: Caller, way: Way) {
    let field = caller.visitor.field.clone();
    let (name, prefix) = (caller.visitor.name.clone(), PREFIX.to_owned());
    let mut follower = Follower::new(caller, way, &prefix, BEGINNING);
    let mut watch = Watch { name, prefix, from: BEGINNING, ..Watch::default() };
    while let Some(told) = follower.next().await {
        let had = watch.events.len();
        match told {
            Told::Events(events) => watch.events.extend(events),
            Told::Upto(revision) => watch.bookmarks.push((revision, had)),
            Told::Resumed(revision) => watch.resumed.push((revision, had)),
        }
    }
    field.history.lock().unwrap().watches.push(watch);
}

/// Tells the board of each key that is gone: one herald of each kind is with each agent.
pub async fn herald(caller: Caller, board: Board, of_locks: bool) {
    let field = caller.visitor.field.clone();
    let prefix = if of_locks { locks::PREFIX } else { leases::PREFIX };
    let mut follower = Follower::new(caller, Way::Grpc, prefix, BEGINNING);
    while let Some(told) = follower.next().await {
        let Told::Events(events) = told else { continue };
        for event in events.into_iter().filter(|event| event.value.is_none()) {
            board.write_down(event.key, event.revision, field.now());
        }
    }
}

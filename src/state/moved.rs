//! The services that changed last: who keeps what follows from a service need not look again at
//! those that stood still.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Folded, Index, limits};

use super::topic::Topic;

/// What moved behind `since` and up to `upto`. Bounded: the oldest go first.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved {
    since: Index,
    upto: Index,
    log: OrdMap<Index, Arc<[Folded]>>,
}

impl Moved {
    fn after(index: Index) -> Moved {
        Moved { since: index, upto: index, log: OrdMap::new() }
    }

    /// Notes what an entry touched that moved the state's index from `before` to `index`. Where
    /// the state came to `before` by another way, as out of a snapshot, knowledge begins there.
    pub fn push(&mut self, before: Index, index: Index, touched: &BTreeSet<Topic>) {
        if before != self.upto {
            *self = Moved::after(before);
        }
        self.upto = index;
        let services = touched.iter().filter_map(|topic| match topic {
            Topic::Service(name) => Some(name.clone()),
            _ => None,
        });
        let services: Arc<[Folded]> = services.collect();
        if services.is_empty() {
            return;
        }
        if index <= before || services.len() > limits::MOVED_AT_ONCE {
            *self = Moved::after(index);
            return;
        }
        self.log.insert(index, services);
        if self.log.len() > limits::RECENT_MOVES
            && let Some((oldest, _)) = self.log.get_min()
        {
            self.since = *oldest;
            self.log.remove(&self.since);
        }
    }

    /// None where it does not reach from `since` to `index`, which is the state's.
    pub fn since(&self, since: Index, index: Index) -> Option<impl Iterator<Item = &Folded>> {
        let known = self.since <= since && self.upto == index;
        known.then(|| self.log.range(since + 1..).flat_map(|(_, services)| services.iter()))
    }
}

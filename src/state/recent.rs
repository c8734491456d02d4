//! The newest revisions of the key space, on an agent that keeps no history: what its watches are
//! told without asking a server.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Revision, limits};

use super::history::KeyEvent;
use super::past::PastEvent;

/// What happened after `since`. Bounded: the oldest go first.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    since: Revision,
    /// Nothing below this may be told any more; 0 while no compaction was heard of.
    compacted: Revision,
    log: OrdMap<Revision, Arc<Happened>>,
    bytes: usize,
}

/// What one revision did, with what each key was before.
#[derive(Debug)]
struct Happened {
    events: Vec<PastEvent>,
    bytes: usize,
}

impl Recent {
    /// Knows nothing of `revision` and before.
    pub fn after(revision: Revision) -> Recent {
        Recent { since: revision, ..Recent::default() }
    }

    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Whether everything from this revision on is known.
    pub fn reaches(&self, revision: Revision) -> bool {
        revision > self.since
    }

    pub fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
    }

    pub fn push(&mut self, revision: Revision, events: Vec<PastEvent>) {
        let bytes = events.iter().map(PastEvent::bytes).sum();
        self.bytes += bytes;
        self.log.insert(revision, Arc::new(Happened { events, bytes }));
        while self.log.len() > limits::RECENT_REVISIONS || self.bytes > limits::RECENT_BYTES {
            let Some((oldest, gone)) = self.log.get_min().cloned() else { return };
            self.log.remove(&oldest);
            self.bytes -= gone.bytes;
            self.since = oldest;
        }
    }

    pub fn from(&self, revision: Revision) -> impl Iterator<Item = (Revision, &[PastEvent])> + '_ {
        self.log.range(revision..).map(|(at, happened)| (*at, happened.events.as_slice()))
    }
}

impl PastEvent {
    fn bytes(&self) -> usize {
        let PastEvent { event: KeyEvent { key, row }, prev, .. } = self;
        let rows = row.iter().chain(prev);
        size_of::<PastEvent>() + key.len() + rows.map(|row| row.value.len()).sum::<usize>()
    }
}

//! The one writer: takes entries or changes in order, publishes root, changes and wake-ups.
//!
//! On a server `raft` feeds it, on an edge `cluster`'s follower does. Readers take the current root
//! without a lock; wake-ups carry no data, so nothing overflows: truth is read again.

mod feed;
mod intervals;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::Applied;
use crate::state::{Changes, Outcome, Part, Proposal, State};

pub use crate::state::Topic;

pub use feed::{Feed, Fetch, Published};
pub use topics::Watch;

use topics::Topics;

/// The readers' side: cheap to clone, never blocks the writer.
#[derive(Clone)]
pub struct Replica {
    shared: Arc<Shared>,
}

/// What everyone's part of the state comes to after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub at: Applied,
    pub sum: u32,
}

struct Shared {
    root: ArcSwap<State>,
    applied: watch::Sender<Applied>,
    topics: Topics,
    feed: Feed,
    checkpoint: watch::Sender<Option<Arc<State>>>,
    agreed: watch::Sender<Option<Checksum>>,
}

/// The writer's side; there is exactly one.
pub struct Writer {
    state: State,
    shared: Arc<Shared>,
    /// Taken in since the last `publish`.
    pending: Vec<Arc<Published>>,
    /// What the pending changes touched.
    touched: BTreeSet<Topic>,
    keeps_tail: bool,
}

/// An empty state with its writer and its readers.
pub fn new(part: Part) -> (Writer, Replica) {
    let state = State::new(part);
    let shared = Arc::new(Shared {
        root: ArcSwap::from_pointee(state.clone()),
        applied: watch::Sender::new(Applied::default()),
        topics: Topics::default(),
        feed: Feed::default(),
        checkpoint: watch::Sender::new(None),
        agreed: watch::Sender::new(None),
    });
    let (pending, touched) = (Vec::new(), BTreeSet::new());
    let writer = Writer { state, shared: shared.clone(), pending, touched, keeps_tail: true };
    (writer, Replica { shared })
}

impl Replica {
    /// The current root: everything at one point of the log.
    pub fn snapshot(&self) -> Arc<State> {
        self.shared.root.load_full()
    }

    /// Moves with every entry that is published, blanks and memberships too.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.shared.applied.subscribe()
    }

    /// Returns once the entry at `index` has been published here.
    pub async fn wait_for(&self, index: u64) {
        let mut applied = self.applied();
        // The sender lives as long as `self`.
        let _ = applied.wait_for(|applied| applied.index >= index).await;
    }

    /// Wakes when one of the topics is touched. Watch first, then read: no change is missed.
    pub fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Watch {
        self.shared.topics.watch(topics)
    }

    /// Moves when the state as it was after a checkpoint can be taken.
    pub fn checkpoints(&self) -> watch::Receiver<Option<Arc<State>>> {
        self.shared.checkpoint.subscribe()
    }

    /// Takes that state away: what it alone holds is given free.
    pub fn take_checkpoint(&self) -> Option<Arc<State>> {
        let mut taken = None;
        self.shared.checkpoint.send_if_modified(|state| {
            taken = state.take();
            false
        });
        taken
    }

    /// The servers have agreed on that: whoever follows is to come to the same.
    pub fn agree(&self, checksum: Checksum) {
        self.shared.agreed.send_replace(Some(checksum));
    }

    /// Moves when the servers have agreed on a checksum.
    pub fn agreed(&self) -> watch::Receiver<Option<Checksum>> {
        self.shared.agreed.subscribe()
    }

    /// Recent changes for followers.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }
}

impl Writer {
    /// The readers' side of this writer.
    pub fn replica(&self) -> Replica {
        Replica { shared: self.shared.clone() }
    }

    /// The state with everything taken in, published or not.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Decides and takes in one command of the log.
    pub fn apply(&mut self, at: Applied, proposal: &Proposal) -> Outcome {
        let (outcome, changes) = self.state.apply(at, proposal);
        self.absorb(changes);
        outcome
    }

    /// Takes in an entry of the log that is no command.
    pub fn blank(&mut self, at: Applied) {
        let changes = self.state.blank(at);
        self.absorb(changes);
    }

    /// Takes in changes that were decided elsewhere.
    pub fn absorb(&mut self, changes: Changes) {
        self.take_in(Published::new(changes));
    }

    /// Makes this replica another than it should be.
    #[cfg(test)]
    pub fn corrupt(&mut self, key: &[u8]) {
        self.state.corrupt(key);
        self.shared.root.store(Arc::new(self.state.clone()));
    }

    /// The same, with the bytes in which they came: they travel on in these.
    pub fn absorb_encoded(&mut self, changes: Changes, encoded: Bytes) {
        self.take_in(Published::received(changes, encoded));
    }

    fn take_in(&mut self, entry: Published) {
        self.touched.extend(self.state.absorb(&entry.changes));
        // Nobody may be there to take it, and it keeps everything alive that it holds.
        if entry.changes.is_checkpoint() && self.shared.checkpoint.receiver_count() > 0 {
            self.shared.checkpoint.send_replace(Some(Arc::new(self.state.clone())));
        }
        self.pending.push(Arc::new(entry));
    }

    /// Nobody follows this replica: no change is kept for those who lag.
    pub fn keep_no_tail(&mut self) {
        self.keeps_tail = false;
    }

    /// Shows readers all that was taken in since the last call, and wakes who asked for it.
    pub fn publish(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let lineage = |state: &State| state.identity().lineage;
        let before = lineage(&self.shared.root.load());
        if before != lineage(&self.state) && before != 0 {
            // Everything was restored: followers take it as a whole, who waits looks again.
            return self.install(self.state.clone());
        }
        self.shared.root.store(Arc::new(self.state.clone()));
        if self.keeps_tail {
            self.shared.feed.push(&pending);
        }
        self.shared.applied.send_replace(self.state.applied());
        self.shared.topics.wake(std::mem::take(&mut self.touched));
    }

    /// Replaces everything: a snapshot was installed, or restored. Everyone who watches looks
    /// again, and followers that stood between are told to take a snapshot.
    pub fn install(&mut self, state: State) {
        self.pending.clear();
        self.touched.clear();
        self.state = state;
        self.shared.root.store(Arc::new(self.state.clone()));
        self.shared.feed.reset(self.state.applied());
        self.shared.applied.send_replace(self.state.applied());
        self.shared.topics.wake_all();
    }
}

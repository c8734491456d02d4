//! A bounded ring of recent changes, from which followers that lag a little catch up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::{Applied, limits};
use crate::state::Changes;

/// One entry's changes, encoded at most once however many follow.
#[derive(Debug)]
pub struct Published {
    pub changes: Changes,
    encoded: OnceLock<Bytes>,
}

impl Published {
    pub(super) fn new(changes: Changes) -> Published {
        Published { changes, encoded: OnceLock::new() }
    }

    /// Changes that came in the form in which they travel on.
    pub(super) fn received(changes: Changes, encoded: Bytes) -> Published {
        Published { changes, encoded: OnceLock::from(encoded) }
    }

    /// The changes in the form in which they travel to followers (postcard), without what never
    /// leaves servers.
    pub fn encoded(&self) -> &Bytes {
        self.encoded.get_or_init(|| match postcard::to_stdvec(&*self.changes.shared()) {
            Ok(bytes) => bytes.into(),
            Err(error) => unreachable!("changes are plain data: {error}"),
        })
    }

    /// Roughly the bytes this keeps alive: the rows, and once more their encoding.
    fn weight(&self) -> usize {
        2 * self.changes.weight()
    }
}

/// What a follower finds behind its position.
#[derive(Debug)]
pub enum Fetch {
    /// Everything after it, oldest first; empty: nothing yet, wait.
    Tail(Vec<Arc<Published>>),
    /// It stands outside the ring: take a snapshot.
    Snapshot,
}

#[derive(Debug, Default)]
struct Ring {
    /// The position before the oldest entry.
    base: Applied,
    entries: VecDeque<Arc<Published>>,
    weight: usize,
}

#[derive(Debug, Default)]
pub struct Feed {
    ring: Mutex<Ring>,
    tick: watch::Sender<Applied>,
}

impl Feed {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, published: &[Arc<Published>]) {
        let mut ring = self.ring();
        for entry in published {
            ring.weight += entry.weight();
            ring.entries.push_back(entry.clone());
        }
        while ring.entries.len() > limits::RING_ENTRIES || ring.weight > limits::RING_BYTES {
            let Some(oldest) = ring.entries.pop_front() else { break };
            ring.weight -= oldest.weight();
            ring.base = oldest.changes.applied;
        }
        drop(ring);
        if let Some(last) = published.last() {
            self.tick.send_replace(last.changes.applied);
        }
    }

    pub(super) fn reset(&self, at: Applied) {
        *self.ring() = Ring { base: at, ..Ring::default() };
        self.tick.send_replace(at);
    }

    /// At most `most` entries after `position`.
    pub fn after(&self, position: Applied, most: usize) -> Fetch {
        let ring = self.ring();
        let end = ring.entries.back().map_or(ring.base, |entry| entry.changes.applied);
        if position < ring.base || position > end {
            return Fetch::Snapshot;
        }
        let from = ring.entries.partition_point(|entry| entry.changes.applied <= position);
        Fetch::Tail(ring.entries.iter().skip(from).take(most).cloned().collect())
    }

    /// Moves with every publish.
    pub fn tick(&self) -> watch::Receiver<Applied> {
        self.tick.subscribe()
    }
}

//! The past of the key space: every revision since the last compaction.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::{Revision, Stamp};

use super::keys::KeyRange;
use super::rows::{Key, KeyRow};
use super::size;

/// A key put (`Some`) or deleted (`None`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEvent {
    pub key: Key,
    pub row: Option<Arc<KeyRow>>,
}

/// What one revision did, in the order of its sub-revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionLog {
    pub at: Stamp,
    pub events: Vec<KeyEvent>,
}

/// Reads at a past revision and watches from one. Nothing below `compacted` can be asked for; what
/// happened at that very revision still can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub(super) compacted: Revision,
    /// The compaction before that one.
    pub(super) compacted_before: Revision,
    pub(super) log: OrdMap<Revision, Arc<RevisionLog>>,
    pub(super) versions: OrdMap<(Key, Revision), Option<Arc<KeyRow>>>,
    /// Derived: what all versions weigh.
    size: u64,
}

impl History {
    /// The oldest revision that can still be read; 0 before the first compaction.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The compaction before the newest; 0 if there was none.
    pub(super) fn compacted_before(&self) -> Revision {
        self.compacted_before
    }

    /// What all versions weigh, those that are current included.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What happened from `revision` on, in order.
    pub fn from(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = (Revision, &Arc<RevisionLog>)> + '_ {
        self.log.range(revision..).map(|(at, log)| (*at, log))
    }

    /// The key as it was at `revision`.
    pub fn at(&self, key: &Key, revision: Revision) -> Option<&Arc<KeyRow>> {
        let upto = (key.clone(), revision);
        let ((found, _), row) = self.versions.get_prev(&upto)?;
        if found == key { row.as_ref() } else { None }
    }

    /// The range as it was at `revision`, in order.
    pub(super) fn rows_at<'a>(
        &'a self,
        range: &'a KeyRange,
        revision: Revision,
    ) -> impl Iterator<Item = (Key, Arc<KeyRow>)> + 'a {
        let from = (range.key.clone(), Revision::MIN);
        let mut versions = self
            .versions
            .range(from..)
            .take_while(move |((key, _), _)| range.contains(key))
            .filter(move |((_, at), _)| *at <= revision)
            .peekable();
        std::iter::from_fn(move || {
            loop {
                let ((key, _), row) = versions.next()?;
                let superseded = versions.peek().is_some_and(|((next, _), _)| next == key);
                if let (false, Some(row)) = (superseded, row) {
                    return Some((key.clone(), row.clone()));
                }
            }
        })
    }

    /// The newest revision that is older than `age`, if there is one.
    pub(super) fn last_before(&self, age: Stamp) -> Option<Revision> {
        self.log.iter().take_while(|(_, log)| log.at < age).last().map(|(at, _)| *at)
    }

    /// A past that knows the present keys and nothing before.
    pub(super) fn beginning(revision: Revision, keys: &OrdMap<Key, Arc<KeyRow>>) -> History {
        let mut history = History::since(revision, 0);
        for (key, row) in keys {
            history.keep(key.clone(), row.modified, Some(row.clone()));
        }
        history
    }

    /// A past of which nothing is known yet.
    pub(super) fn since(compacted: Revision, compacted_before: Revision) -> History {
        History { compacted, compacted_before, ..History::default() }
    }

    /// What the key became at that revision.
    pub(super) fn keep(&mut self, key: Key, revision: Revision, row: Option<Arc<KeyRow>>) {
        self.size += size::version(&key, row.as_deref());
        let old = self.versions.insert((key.clone(), revision), row);
        self.size -= old.map_or(0, |old| size::version(&key, old.as_deref()));
    }

    pub(super) fn push(&mut self, revision: Revision, at: Stamp, events: Vec<KeyEvent>) {
        // Of the revision that a compaction kept, the rows that it kept are known already.
        if revision > self.compacted {
            for KeyEvent { key, row } in &events {
                self.keep(key.clone(), revision, row.clone());
            }
        }
        self.log.insert(revision, Arc::new(RevisionLog { at, events }));
    }

    /// Forgets what no read at `revision` or later can see. Incremental: it touches only the
    /// revisions that go.
    pub(super) fn compact(&mut self, revision: Revision) {
        if revision <= self.compacted {
            return;
        }
        let going: Vec<Revision> = self.log.range(..=revision).map(|(at, _)| *at).collect();
        for at in going {
            let Some(log) = self.log.get(&at).cloned() else { continue };
            // A watch that stands right there has yet to see it, deletions too.
            if at < revision {
                self.log.remove(&at);
            }
            for event in &log.events {
                self.compact_key(&event.key, revision);
            }
        }
        (self.compacted_before, self.compacted) = (self.compacted, revision);
    }

    /// Keeps only what the key was at `upto`, and not even that where it was deleted by then.
    fn compact_key(&mut self, key: &Key, upto: Revision) {
        let newest = self.versions.get_prev(&(key.clone(), upto));
        let Some(((found, at), row)) = newest else { return };
        if found != key {
            return;
        }
        let keep_from = if row.is_some() { *at } else { *at + 1 };
        let below = (key.clone(), keep_from - 1);
        while let Some(((found, at), _)) = self.versions.get_prev(&below) {
            if found != key {
                break;
            }
            let hidden = (found.clone(), *at);
            let row = self.versions.remove(&hidden).flatten();
            self.size -= size::version(key, row.as_deref());
        }
    }
}

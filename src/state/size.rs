//! What keys, their past and leases weigh: the logical size that the quota is held against.

use crate::model::Revision;

use super::State;
use super::history::History;
use super::rows::{KeyRow, SessionRow};

/// What a version of a key takes beside its own bytes and those of its value: its numbers and its
/// places in the tables.
const VERSION: u64 = 128;
/// What a lease takes.
pub(super) const LEASE: u64 = 128;

/// What a session takes beside its strings, and a key that nobody may take beside its name.
const SESSION: u64 = 384;
const DELAY: u64 = 128;
/// What a string in a list takes beside its bytes.
const LIST: usize = 48;

/// Events of the past that one command may look at to make room.
pub(super) const STEP: usize = 1024;
/// The same of a command that does nothing else.
const STEPS: usize = 4 * STEP;

/// What one version of a key weighs.
pub(super) fn version(key: &[u8], row: Option<&KeyRow>) -> u64 {
    VERSION + (key.len() + row.map_or(0, |row| row.value.len())) as u64
}

/// What a session weighs.
pub(super) fn session(row: &SessionRow) -> u64 {
    let def = &row.def;
    let checks: usize = def.all_checks().map(|id| LIST + id.len()).sum();
    let namespaces = def.service_checks.iter().flatten().map(|check| check.namespace.len());
    let strings = def.name.len() + def.node.len() + def.ttl_text.len();
    SESSION + (checks + strings + namespaces.sum::<usize>()) as u64
}

/// What it weighs that nobody may take a key.
pub(super) fn delay(key: &[u8]) -> u64 {
    DELAY + key.len() as u64
}

impl State {
    /// Bytes of the present keys, the leases and the sessions: what giving up all of the past would
    /// leave. This is what the quota bounds.
    pub fn live_size(&self) -> u64 {
        self.keys_size + self.leases.len() as u64 * LEASE + self.sessions.weight()
    }

    /// Bytes of all that can be asked for: the same and the past. An edge has none.
    pub fn size(&self) -> u64 {
        self.live_size() + self.past_size()
    }

    /// Bytes of versions that are no longer current.
    fn past_size(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.size().saturating_sub(self.keys_size))
    }

    /// What the past may take beside the present: an eighth of the quota stays free, and a little
    /// of the past is left to it in any case.
    fn past_room(&self) -> u64 {
        let quota = self.identity.settings.quota;
        (quota - quota / 8).saturating_sub(self.live_size()).max(quota / 64)
    }

    /// Whether the past is to make room before a write has to.
    pub fn is_pressed(&self) -> bool {
        self.past_size() > self.past_room() + self.identity.settings.quota / 16
    }

    /// Up to where the past goes in one step, where it is too large by itself.
    pub(super) fn pressed_to(&self) -> Option<Revision> {
        if self.is_pressed() { self.relief(STEPS) } else { None }
    }

    /// Up to where the past goes in one step, looking at no more than so many of its events and the
    /// rest of their revision; none if it takes no more than it may.
    pub(super) fn relief(&self, most: usize) -> Option<Revision> {
        let surplus = self.past_size().saturating_sub(self.past_room());
        if surplus == 0 {
            return None;
        }
        self.history.as_ref()?.relief(surplus, most)
    }
}

impl History {
    /// The oldest revisions that hold so many bytes of the past, by the events that end them.
    fn relief(&self, bytes: u64, most: usize) -> Option<Revision> {
        let (mut freed, mut seen, mut upto) = (0, 0, None);
        for (revision, log) in self.from(self.compacted() + 1) {
            if freed >= bytes || seen >= most {
                break;
            }
            for event in &log.events {
                let before = self.at(&event.key, revision - 1);
                freed += before.map_or(0, |row| version(&event.key, Some(row)));
                if event.row.is_none() {
                    freed += version(&event.key, None);
                }
            }
            seen += log.events.len();
            upto = Some(revision);
        }
        upto
    }
}

//! Sessions, the keys that they hold, and the keys that nobody may take for a while.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::{Folded, Index, SessionId};

use super::State;
use super::rows::{Key, LockDelay, SessionRow};
use super::size;
use super::topic::{Topic, Touch};

#[derive(Clone, Default)]
pub(super) struct Sessions {
    pub(super) rows: OrdMap<SessionId, Arc<SessionRow>>,
    /// The last time one came or went.
    pub(super) index: Index,
    pub(super) delays: OrdMap<Key, LockDelay>,
    /// Derived: the keys that each holds.
    held: OrdMap<SessionId, OrdSet<Key>>,
    /// Derived: those of each node.
    on_nodes: OrdSet<(Folded, SessionId)>,
    /// Derived: what sessions and delays weigh.
    weight: u64,
}

impl Sessions {
    pub(super) fn absorb(
        &mut self,
        id: SessionId,
        row: Option<&Arc<SessionRow>>,
        touch: &mut Touch,
    ) {
        touch.mark(&mut self.index, Topic::Sessions);
        let old = match row {
            Some(row) => self.rows.insert(id, row.clone()),
            None => self.rows.remove(&id),
        };
        if let Some(old) = old {
            self.on_nodes.remove(&(Folded::new(&old.def.node), id));
            self.weight -= size::session(&old);
        }
        if let Some(row) = row {
            self.on_nodes.insert((Folded::new(&row.def.node), id));
            self.weight += size::session(row);
        }
    }

    pub(super) fn absorb_delay(&mut self, key: &Key, delay: Option<LockDelay>) {
        let old = match delay {
            Some(delay) => self.delays.insert(key.clone(), delay),
            None => self.delays.remove(key),
        };
        self.weight += delay.map_or(0, |_| size::delay(key));
        self.weight -= old.map_or(0, |_| size::delay(key));
    }

    /// A key has gone from one hand to the other.
    pub(super) fn pass(&mut self, key: &Key, was: Option<SessionId>, is: Option<SessionId>) {
        if was == is {
            return;
        }
        if let Some(was) = was
            && let Some(keys) = self.held.get_mut(&was)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(&was);
            }
        }
        if let Some(is) = is {
            self.held.entry(is).or_default().insert(key.clone());
        }
    }

    /// Bytes, as the quota counts them.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

impl State {
    /// The session, if it was made and has not ended.
    pub fn session(&self, id: SessionId) -> Option<&Arc<SessionRow>> {
        self.sessions.rows.get(&id)
    }

    /// All sessions in order of their ids.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<SessionRow>> {
        self.sessions.rows.values()
    }

    /// The sessions that live by this node, in order of their ids.
    pub fn sessions_on<'a>(
        &'a self,
        node: &'a Folded,
    ) -> impl Iterator<Item = &'a Arc<SessionRow>> {
        self.sessions
            .on_nodes
            .range((node.clone(), SessionId::NOBODY)..)
            .take_while(move |(of, _)| of == node)
            .filter_map(|(_, id)| self.session(*id))
    }

    /// The keys that the session holds, in order.
    pub fn session_keys(&self, id: SessionId) -> impl Iterator<Item = &Key> {
        self.sessions.held.get(&id).into_iter().flat_map(|keys| keys.iter())
    }

    /// What `session/list` answers with as its index.
    pub fn sessions_index(&self) -> Index {
        self.sessions.index
    }

    /// Why nobody may take that key for now.
    pub fn lock_delay(&self, key: &[u8]) -> Option<&LockDelay> {
        self.sessions.delays.get(key)
    }

    /// The keys that nobody may take for now, in order.
    pub fn lock_delays(&self) -> impl Iterator<Item = (&Key, &LockDelay)> {
        self.sessions.delays.iter()
    }
}

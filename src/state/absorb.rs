//! The only thing that alters a state: rows put and deleted, and what is derived from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::{PasswordHash, Sealed};
use crate::model::{AclId, LeaseId, Revision};

use super::State;
use super::change::{Change, Changes};
use super::history::{History, KeyEvent};
use super::past::PastEvent;
use super::recent::Recent;
use super::rows::{Key, KeyRow, Tombstone};
use super::size;
use super::topic::{Topic, Touch};

impl State {
    /// Takes one entry's changes over and says what they touched. The same on servers and edges;
    /// entries come in log order.
    pub fn absorb(&mut self, changes: &Changes) -> BTreeSet<Topic> {
        let before = self.index;
        self.applied = changes.applied;
        self.stamp = changes.stamp;
        self.index = changes.index;
        self.revision = changes.revision;
        let mut touch = Touch::at(changes.index);
        let events = self.past_events(changes);
        for change in &changes.rows {
            self.absorb_row(change, &mut touch);
        }
        let rebased = changes.rows.iter().any(|row| matches!(row, Change::Rebased(_)));
        if !events.is_empty() && !rebased {
            match &mut self.history {
                Some(history) => {
                    let events = events.into_iter().map(|past| past.event).collect();
                    history.push(changes.revision, changes.stamp, events);
                }
                None => self.recent.push(changes.revision, events),
            }
        }
        if changes.rows.iter().any(|row| !row.is_quiet()) {
            touch.topics.insert(Topic::All);
        }
        self.moved.push(before, changes.index, &touch.topics);
        touch.topics
    }

    /// What happens to keys, and what they are before. A history finds the latter by itself.
    fn past_events(&self, changes: &Changes) -> Vec<PastEvent> {
        let before = |key: &Key| match self.history {
            Some(_) => None,
            None => self.keys.get(key).cloned(),
        };
        let past = |event: KeyEvent| {
            let prev = before(&event.key);
            PastEvent { revision: changes.revision, event, prev }
        };
        changes.key_events().map(past).collect()
    }

    pub(super) fn absorb_row(&mut self, change: &Change, touch: &mut Touch) {
        match change {
            Change::Identity(identity) => {
                self.identity = identity.clone();
                touch.topics.insert(Topic::Members);
            }
            Change::Member(id, member) => {
                match member {
                    Some(member) => self.members.insert(*id, Arc::new(member.clone())),
                    None => self.members.remove(id),
                };
                touch.topics.insert(Topic::Members);
            }
            Change::Key(key, row) => {
                self.absorb_key(key, row.as_ref());
                touch.topics.insert(Topic::Key(key.clone()));
            }
            Change::Lease(id, row) => {
                match row {
                    Some(row) => self.leases.insert(*id, row.clone()),
                    None => self.leases.remove(id),
                };
                touch.topics.insert(Topic::Leases);
            }
            Change::Session(id, row) => self.sessions.absorb(*id, row.as_ref(), touch),
            Change::LockDelay(key, delay) => self.sessions.absorb_delay(key, *delay),
            Change::Node(name, row) => self.catalog.absorb_node(name, row.as_ref(), touch),
            Change::Instance(key, row) => self.catalog.absorb_instance(key, row.as_ref(), touch),
            Change::Check(key, row) => self.catalog.absorb_check(key, row.as_ref(), touch),
            Change::Compacted(revision) => match &mut self.history {
                Some(history) => history.compact(*revision),
                None => self.recent.compact(*revision),
            },
            Change::Floor(revision) => self.absorb_floor(*revision),
            // An edge that is told of one all the same keeps it no more than the history.
            Change::Token(id, row) if self.history.is_some() => {
                match row {
                    Some(row) => self.tokens.insert(*id, row.clone()),
                    None => self.tokens.remove(id),
                };
            }
            Change::Rebased(revision) => {
                self.absorb_floor(*revision);
                match self.history {
                    Some(_) => self.history = Some(History::beginning(*revision, &self.keys)),
                    None => self.recent = Recent::after(*revision),
                }
            }
            Change::Staged(None) => self.staging = None,
            Change::Staged(Some(piece)) => self.absorb_piece(piece),
            Change::Alarm(alarm, raised) => {
                match raised {
                    Some(by) => self.alarms.insert(*alarm, *by),
                    None => self.alarms.remove(alarm),
                };
            }
            Change::Account(change) => self.accounts.absorb(change),
            Change::Query(id, row) => self.queries.absorb(*id, row.as_ref(), touch),
            Change::Event(number, event) => self.absorb_event(*number, event.as_ref(), touch),
            Change::Autopilot(row) => self.autopilot = row.clone(),
            Change::Password(user, hash) => self.absorb_password(user, hash.as_ref()),
            Change::Acl(change) => {
                self.acl.absorb(change);
                touch.topics.insert(Topic::Acl);
            }
            Change::Secret(id, secret) => self.absorb_secret(*id, secret.as_ref()),
            Change::Token(..) | Change::Checkpoint => {}
        }
    }

    /// An edge keeps none.
    fn absorb_password(&mut self, user: &Arc<str>, hash: Option<&PasswordHash>) {
        match hash.filter(|_| self.history.is_some()) {
            Some(hash) => self.passwords.insert(user.clone(), hash.clone()),
            None => self.passwords.remove(user),
        };
    }

    /// An edge keeps none.
    fn absorb_secret(&mut self, id: AclId, secret: Option<&Sealed>) {
        match secret.filter(|_| self.history.is_some()) {
            Some(secret) => self.secrets.insert(id, secret.clone()),
            None => self.secrets.remove(&id),
        };
    }

    fn absorb_key(&mut self, key: &Key, row: Option<&Arc<KeyRow>>) {
        // A removal copies nodes of the map even where it finds nothing, so it asks first.
        if let Some(tombstone) = self.tombstones.get(key).copied() {
            self.tombstones.remove(key);
            self.deletions.remove(&(tombstone.revision, key.clone()));
        }
        let old = match row {
            Some(row) => self.keys.insert(key.clone(), row.clone()),
            None => {
                let tombstone = Tombstone { revision: self.revision, at: self.stamp };
                self.remember(key, tombstone);
                self.keys.remove(key)
            }
        };
        let weight = |row: &Arc<KeyRow>| size::version(key, Some(row));
        self.keys_size += row.map_or(0, weight);
        self.keys_size -= old.as_ref().map_or(0, weight);
        let holder = |row: &Arc<KeyRow>| row.holder();
        self.sessions.pass(key, old.as_ref().and_then(holder), row.and_then(holder));
        let lease = |row: &Arc<KeyRow>| row.lease;
        let was = old.as_ref().map_or(LeaseId::NONE, lease);
        let is = row.map_or(LeaseId::NONE, lease);
        if was == is {
            return;
        }
        if let Some(keys) = self.lease_keys.get_mut(&was) {
            keys.remove(key);
            if keys.is_empty() {
                self.lease_keys.remove(&was);
            }
        }
        if !is.is_none() {
            self.lease_keys.entry(is).or_default().insert(key.clone());
        }
    }

    pub(super) fn remember(&mut self, key: &Key, tombstone: Tombstone) {
        self.tombstones.insert(key.clone(), tombstone);
        self.deletions.insert((tombstone.revision, key.clone()));
    }

    fn absorb_floor(&mut self, floor: Revision) {
        self.floor = floor;
        let forgotten = self.deletions.iter().take_while(|(revision, _)| *revision <= floor);
        let forgotten: Vec<(Revision, Key)> = forgotten.cloned().collect();
        for deletion in forgotten {
            self.tombstones.remove(&deletion.1);
            self.deletions.remove(&deletion);
        }
    }
}

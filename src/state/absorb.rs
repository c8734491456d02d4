//! The only thing that alters a state: rows put and deleted, and what is derived from them.

use std::sync::Arc;

use crate::model::{Folded, Index};

use super::change::{Change, Changes};
use super::history::KeyEvent;
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, Key, KeyRow, NodeRow, Tombstone};
use super::{Catalog, State};

impl State {
    /// Takes one entry's changes over. The same on servers and edges; entries come in log order.
    pub fn absorb(&mut self, changes: &Changes) {
        self.applied = changes.applied;
        self.stamp = changes.stamp;
        self.index = changes.index;
        self.revision = changes.revision;
        let mut events = Vec::new();
        for change in &changes.rows {
            self.absorb_row(change);
            if let (Change::Key(key, row), true) = (change, self.history.is_some()) {
                events.push(KeyEvent { key: key.clone(), row: row.clone() });
            }
        }
        if let (Some(history), false) = (&mut self.history, events.is_empty()) {
            history.push(changes.revision, changes.stamp, events);
        }
    }

    pub(super) fn absorb_row(&mut self, change: &Change) {
        match change {
            Change::Identity(identity) => self.identity = identity.clone(),
            Change::Member(id, Some(member)) => {
                self.members.insert(*id, Arc::new(member.clone()));
            }
            Change::Member(id, None) => {
                self.members.remove(id);
            }
            Change::Key(key, row) => self.absorb_key(key, row.as_ref()),
            Change::Lease(id, Some(row)) => {
                self.leases.insert(*id, row.clone());
            }
            Change::Lease(id, None) => {
                self.leases.remove(id);
            }
            Change::Node(name, row) => self.catalog.absorb_node(name, row.as_ref(), self.index),
            Change::Instance(key, row) => {
                self.catalog.absorb_instance(key, row.as_ref(), self.index);
            }
            Change::Check(key, row) => self.catalog.absorb_check(key, row.as_ref(), self.index),
            Change::Compacted(revision) => {
                if let Some(history) = &mut self.history {
                    history.compact(*revision);
                }
            }
            Change::Floor(revision) => {
                self.floor = *revision;
                let forgotten: Vec<Key> = self
                    .tombstones
                    .iter()
                    .filter(|(_, tombstone)| tombstone.revision <= *revision)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in forgotten {
                    self.tombstones.remove(&key);
                }
            }
        }
    }

    fn absorb_key(&mut self, key: &Key, row: Option<&Arc<KeyRow>>) {
        let old = match row {
            Some(row) => {
                self.tombstones.remove(key);
                self.keys.insert(key.clone(), row.clone())
            }
            None => {
                let tombstone = Tombstone { revision: self.revision, at: self.stamp };
                self.tombstones.insert(key.clone(), tombstone);
                self.keys.remove(key)
            }
        };
        let (was, is) = (old.map(|r| r.lease), row.map(|r| r.lease));
        if was == is {
            return;
        }
        if let Some(lease) = was.filter(|lease| !lease.is_none())
            && let Some(keys) = self.lease_keys.get_mut(&lease)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.lease_keys.remove(&lease);
            }
        }
        if let Some(lease) = is.filter(|lease| !lease.is_none()) {
            self.lease_keys.entry(lease).or_default().insert(key.clone());
        }
    }
}

impl Catalog {
    pub(super) fn absorb_node(&mut self, name: &Folded, row: Option<&Arc<NodeRow>>, index: Index) {
        self.indexes.nodes = index;
        let old = match row {
            Some(row) => self.nodes.insert(name.clone(), row.clone()),
            None => self.nodes.remove(name),
        };
        let was = old.as_ref().map(|r| &r.def.address);
        if was != row.map(|r| &r.def.address) {
            for key in self.instances_on(name) {
                self.touch_service(&key, index, true);
            }
        }
    }

    pub(super) fn absorb_instance(
        &mut self,
        key: &InstanceKey,
        row: Option<&Arc<InstanceRow>>,
        index: Index,
    ) {
        self.indexes.services = index;
        let old = match row {
            Some(row) => self.instances.insert(key.clone(), row.clone()),
            None => self.instances.remove(key),
        };
        let was = old.map(|r| Folded::new(&r.def.name));
        let is = row.map(|r| Folded::new(&r.def.name));
        if let Some(was) = was.filter(|was| Some(was) != is.as_ref())
            && let Some(entry) = self.services.get_mut(&was)
        {
            entry.instances.remove(key);
            entry.catalog_index = index;
            entry.health_index = index;
            if entry.instances.is_empty() {
                self.services.remove(&was);
                self.indexes.extinction = index;
            }
        }
        if let Some(is) = is {
            let entry = self.services.entry(is).or_default();
            entry.instances.insert(key.clone());
            entry.catalog_index = index;
            entry.health_index = index;
        }
    }

    pub(super) fn absorb_check(
        &mut self,
        key: &CheckKey,
        row: Option<&Arc<CheckRow>>,
        index: Index,
    ) {
        self.indexes.checks = index;
        let old = match row {
            Some(row) => self.checks.insert(key.clone(), row.clone()),
            None => self.checks.remove(key),
        };
        let subject = |row: &Arc<CheckRow>| {
            InstanceKey::new(&key.node, row.def.service_id.as_deref().unwrap_or(""))
        };
        let was = old.as_ref().map(subject);
        let is = row.map(subject);
        for gone in was.iter().filter(|was| Some(*was) != is.as_ref()) {
            self.set_check_of(gone, &key.id, None);
            self.touch_checked(gone, index);
        }
        if let Some(is) = &is {
            self.set_check_of(is, &key.id, row);
            self.touch_checked(is, index);
        }
    }

    fn set_check_of(&mut self, subject: &InstanceKey, id: &str, row: Option<&Arc<CheckRow>>) {
        let mut checks: Vec<Arc<CheckRow>> =
            self.checks_of.get(subject).map(|c| c.to_vec()).unwrap_or_default();
        match (checks.binary_search_by(|c| c.def.id.as_ref().cmp(id)), row) {
            (Ok(at), Some(row)) => checks[at] = row.clone(),
            (Ok(at), None) => {
                checks.remove(at);
            }
            (Err(at), Some(row)) => checks.insert(at, row.clone()),
            (Err(_), None) => {}
        }
        if checks.is_empty() {
            self.checks_of.remove(subject);
        } else {
            self.checks_of.insert(subject.clone(), checks.into());
        }
    }

    /// A check of `subject` changed: its service, or every service on the node.
    fn touch_checked(&mut self, subject: &InstanceKey, index: Index) {
        if subject.id.is_empty() {
            for key in self.instances_on(&subject.node) {
                self.touch_service(&key, index, false);
            }
        } else {
            self.touch_service(subject, index, false);
        }
    }

    fn touch_service(&mut self, key: &InstanceKey, index: Index, catalog: bool) {
        let Some(row) = self.instances.get(key) else { return };
        if let Some(entry) = self.services.get_mut(&Folded::new(&row.def.name)) {
            entry.health_index = index;
            if catalog {
                entry.catalog_index = index;
            }
        }
    }

    pub(super) fn instances_on(&self, node: &Folded) -> Vec<InstanceKey> {
        let from = InstanceKey::new(node, "");
        self.instances
            .range(from..)
            .take_while(|(key, _)| key.node == *node)
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub(super) fn checks_on(&self, node: &Folded) -> Vec<CheckKey> {
        let from = CheckKey::new(node, "");
        self.checks
            .range(from..)
            .take_while(|(key, _)| key.node == *node)
            .map(|(key, _)| key.clone())
            .collect()
    }
}

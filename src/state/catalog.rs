//! Nodes, instances and checks, with what is derived from them to find and to wake.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::{Folded, Index, NodeId};

use super::places::Places;
use super::presence::PRESENCE_CHECK;
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, NodeRow};
use super::topic::{Topic, Touch};

/// Checks of one thing, ordered by id.
pub(super) type Checks = Arc<[Arc<CheckRow>]>;

#[derive(Clone, Default)]
pub(super) struct Catalog {
    pub(super) nodes: OrdMap<Folded, NodeEntry>,
    pub(super) instances: OrdMap<InstanceKey, InstanceEntry>,
    pub(super) checks: OrdMap<CheckKey, Arc<CheckRow>>,
    /// Derived: what is known by a service's name.
    pub(super) services: OrdMap<Folded, ServiceEntry>,
    /// Derived: the nodes on which an agent lives.
    pub(super) agents: OrdSet<(NodeId, Folded)>,
    /// Derived: who lives where.
    pub(super) places: Places,
    pub(super) indexes: TableIndexes,
}

#[derive(Clone)]
pub(super) struct NodeEntry {
    pub(super) row: Arc<NodeRow>,
    /// Derived: the checks of the node itself.
    pub(super) checks: Checks,
    /// The last change of its row or of an instance on it.
    pub(super) catalog_index: Index,
    /// The same, and of any check on it.
    pub(super) index: Index,
}

#[derive(Clone)]
pub(super) struct InstanceEntry {
    pub(super) row: Arc<InstanceRow>,
    /// Derived: the checks of the instance itself.
    pub(super) checks: Checks,
}

#[derive(Clone, Default)]
pub(super) struct ServiceEntry {
    pub(super) instances: OrdSet<InstanceKey>,
    /// The last change of an instance, or of the row of a node under one.
    pub(super) catalog_index: Index,
    /// The same, and of any check that counts for an instance.
    pub(super) health_index: Index,
    /// The last change of what the instances' own checks are or show.
    pub(super) checks_index: Index,
}

/// The last index at which each table changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TableIndexes {
    pub(super) nodes: Index,
    /// Of the list of services with their tags.
    pub(super) services: Index,
    pub(super) checks: Index,
    /// A node went.
    pub(super) lost_node: Index,
    /// A service lost its last instance.
    pub(super) lost_service: Index,
}

/// How much of a service a change concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Concern {
    /// An instance or the row of its node.
    Catalog,
    /// A check of its node.
    NodeCheck,
    /// A check of an instance.
    OwnCheck,
}

impl Catalog {
    pub(super) fn absorb_node(
        &mut self,
        name: &Folded,
        row: Option<&Arc<NodeRow>>,
        touch: &mut Touch,
    ) {
        touch.mark(&mut self.indexes.nodes, Topic::Nodes);
        let old = self.nodes.get(name).cloned();
        if let Some(agent) = old.as_ref().and_then(|old| old.row.def.agent) {
            self.agents.remove(&(agent, name.clone()));
        }
        self.places.move_node(name, old.as_ref().map(|old| &old.row), row);
        match row {
            Some(row) => {
                if let Some(agent) = row.def.agent {
                    self.agents.insert((agent, name.clone()));
                }
                let checks = old.as_ref().map(|old| old.checks.clone()).unwrap_or_default();
                let entry = NodeEntry { row: row.clone(), checks, catalog_index: 0, index: 0 };
                self.nodes.insert(name.clone(), entry);
            }
            None => {
                self.nodes.remove(name);
                self.indexes.lost_node = touch.index;
            }
        }
        let heartbeat = |row: &Arc<NodeRow>| row.def.agent.map(|id| (id, row.def.presence_ttl));
        if old.as_ref().and_then(|old| heartbeat(&old.row)) != row.and_then(heartbeat) {
            touch.topics.insert(Topic::Presences);
        }
        self.touch_node(name, true, touch);
        let keys = self.instances_on(name);
        for key in &keys {
            self.touch_instance(key, Concern::Catalog, touch);
        }
        // The list of services can be asked for by the meta of their nodes.
        let was = old.as_ref().map(|old| &old.row.def.meta);
        if !keys.is_empty() && was != row.map(|row| &row.def.meta) {
            touch.mark(&mut self.indexes.services, Topic::Services);
        }
    }

    pub(super) fn absorb_instance(
        &mut self,
        key: &InstanceKey,
        row: Option<&Arc<InstanceRow>>,
        touch: &mut Touch,
    ) {
        let old = self.instances.get(key).cloned();
        let checks = old.as_ref().map(|old| old.checks.clone()).unwrap_or_default();
        let (has_checks, old) = (!checks.is_empty(), old.map(|old| old.row));
        self.places.move_instance(key, old.as_ref(), row);
        match row {
            Some(row) => {
                self.instances.insert(key.clone(), InstanceEntry { row: row.clone(), checks });
            }
            None => {
                self.instances.remove(key);
            }
        }
        let shown = |row: &Arc<InstanceRow>| (row.def.name.clone(), row.def.tags.clone());
        let shown_changed = old.as_ref().map(shown) != row.map(shown);
        if shown_changed {
            touch.mark(&mut self.indexes.services, Topic::Services);
            if has_checks {
                touch.mark(&mut self.indexes.checks, Topic::Checks);
            }
        }
        self.touch_node(&key.node, true, touch);
        let was = old.map(|row| Folded::of(&row.def.name));
        let is = row.map(|row| Folded::of(&row.def.name));
        let own_checks = has_checks && shown_changed;
        if let Some(was) = was.filter(|was| Some(was) != is.as_ref()) {
            self.leave_service(&was, key, own_checks, touch);
        }
        if let Some(is) = is {
            self.join_service(is, key, own_checks, touch);
        }
    }

    fn join_service(&mut self, name: Folded, key: &InstanceKey, checks: bool, touch: &mut Touch) {
        let entry = self.services.entry(name.clone()).or_default();
        let new = entry.instances.is_empty();
        if !entry.instances.contains(key) {
            entry.instances.insert(key.clone());
        }
        entry.touch(&name, Concern::Catalog, touch);
        if checks || new {
            entry.touch(&name, Concern::OwnCheck, touch);
        }
    }

    fn leave_service(&mut self, name: &Folded, key: &InstanceKey, checks: bool, touch: &mut Touch) {
        let Some(entry) = self.services.get_mut(name) else { return };
        entry.instances.remove(key);
        let extinct = entry.instances.is_empty();
        entry.touch(name, Concern::Catalog, touch);
        if checks || extinct {
            entry.touch(name, Concern::OwnCheck, touch);
        }
        if extinct {
            self.services.remove(name);
            self.indexes.lost_service = touch.index;
        }
    }

    pub(super) fn absorb_check(
        &mut self,
        key: &CheckKey,
        row: Option<&Arc<CheckRow>>,
        touch: &mut Touch,
    ) {
        touch.mark(&mut self.indexes.checks, Topic::Checks);
        let old = match row {
            Some(row) => self.checks.insert(key.clone(), row.clone()),
            None => self.checks.remove(key),
        };
        let status = |row: &Arc<CheckRow>| row.status;
        if key.id.as_ref() == PRESENCE_CHECK && old.as_ref().map(status) != row.map(status) {
            touch.topics.insert(Topic::Presences);
        }
        self.touch_node(&key.node, false, touch);
        let subject = |row: &Arc<CheckRow>| row.def.service_id.clone();
        let (was, is) = (old.as_ref().map(subject), row.map(subject));
        if let Some(was) = was.filter(|was| Some(was) != is.as_ref()) {
            self.set_check(key, was.as_ref(), None, touch);
        }
        if let Some(is) = is {
            self.set_check(key, is.as_ref(), row, touch);
        }
    }

    /// Puts a check to its subject: an instance, or the node where that is none.
    fn set_check(
        &mut self,
        key: &CheckKey,
        instance: Option<&Arc<str>>,
        row: Option<&Arc<CheckRow>>,
        touch: &mut Touch,
    ) {
        match instance {
            Some(id) => {
                let subject = InstanceKey { node: key.node.clone(), id: id.clone() };
                if let Some(entry) = self.instances.get_mut(&subject) {
                    entry.checks = with_check(&entry.checks, &key.id, row);
                }
                self.touch_instance(&subject, Concern::OwnCheck, touch);
            }
            None => {
                if let Some(entry) = self.nodes.get_mut(&key.node) {
                    entry.checks = with_check(&entry.checks, &key.id, row);
                }
                for subject in self.instances_on(&key.node) {
                    self.touch_instance(&subject, Concern::NodeCheck, touch);
                }
            }
        }
    }

    fn touch_instance(&mut self, key: &InstanceKey, concern: Concern, touch: &mut Touch) {
        let Some(entry) = self.instances.get(key) else { return };
        let service = Folded::of(&entry.row.def.name);
        if let Some(entry) = self.services.get_mut(&service) {
            entry.touch(&service, concern, touch);
        }
    }

    /// Of a node that is not there, only those who wait for it have to know.
    fn touch_node(&mut self, name: &Folded, catalog: bool, touch: &mut Touch) {
        let mut absent = (0, 0);
        let (all, of_catalog) = match self.nodes.get_mut(name) {
            Some(entry) => (&mut entry.index, &mut entry.catalog_index),
            None => (&mut absent.0, &mut absent.1),
        };
        touch.mark(all, Topic::Node(name.clone()));
        if catalog {
            touch.mark(of_catalog, Topic::NodeCatalog(name.clone()));
        }
    }

    pub(super) fn instances_on(&self, node: &Folded) -> Vec<InstanceKey> {
        self.instances
            .range(InstanceKey::new(node, "")..)
            .take_while(|(key, _)| key.node == *node)
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub(super) fn checks_on(&self, node: &Folded) -> Vec<CheckKey> {
        self.checks
            .range(CheckKey::new(node, "")..)
            .take_while(|(key, _)| key.node == *node)
            .map(|(key, _)| key.clone())
            .collect()
    }
}

impl NodeEntry {
    pub(super) fn indexes(&self) -> [Index; 2] {
        [self.catalog_index, self.index]
    }
}

impl ServiceEntry {
    pub(super) fn indexes(&self) -> [Index; 3] {
        [self.catalog_index, self.health_index, self.checks_index]
    }

    fn touch(&mut self, name: &Folded, concern: Concern, touch: &mut Touch) {
        touch.mark(&mut self.health_index, Topic::Service(name.clone()));
        match concern {
            Concern::Catalog => {
                touch.mark(&mut self.catalog_index, Topic::ServiceCatalog(name.clone()));
                touch.topics.insert(Topic::Instances);
            }
            Concern::OwnCheck => {
                touch.mark(&mut self.checks_index, Topic::ServiceChecks(name.clone()));
            }
            Concern::NodeCheck => {}
        }
    }
}

fn with_check(checks: &Checks, id: &str, row: Option<&Arc<CheckRow>>) -> Checks {
    let others = checks.iter().filter(|check| check.def.id.as_ref() != id);
    let mut with: Vec<Arc<CheckRow>> = others.chain(row).cloned().collect();
    with.sort_by(|left, right| left.def.id.cmp(&right.def.id));
    with.into()
}

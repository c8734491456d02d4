//! The one view of services that DNS, HTTP, balancing and templates share.

use std::sync::Arc;

use crate::model::{Endpoint, Folded, Health, Index, fold};

use super::State;
use super::catalog::{NodeEntry, ServiceEntry};
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, NodeRow};

/// An instance with its node and all the checks that count for it.
#[derive(Debug, Clone, Copy)]
pub struct InstanceView<'a> {
    pub instance: &'a Arc<InstanceRow>,
    pub node: &'a Arc<NodeRow>,
    pub node_checks: &'a [Arc<CheckRow>],
    pub checks: &'a [Arc<CheckRow>],
}

impl<'a> InstanceView<'a> {
    /// The worst of its own and its node's checks.
    pub fn health(&self) -> Health {
        Health::worst(self.all_checks().map(|check| check.status))
    }

    /// Its node's checks, then its own.
    pub fn all_checks(&self) -> impl Iterator<Item = &'a Arc<CheckRow>> + use<'a> {
        self.node_checks.iter().chain(self.checks)
    }

    /// Its own address, else its node's: an IP address or a host name.
    pub fn address(&self) -> &'a Arc<str> {
        let own = &self.instance.def.address;
        if own.is_empty() { &self.node.def.address } else { own }
    }

    /// Its share of traffic as it is now.
    pub fn weight(&self) -> u16 {
        self.instance.def.weights.at(self.health())
    }

    /// Where to connect to; none where the port cannot be one.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let port = u16::try_from(self.instance.def.port).ok().filter(|port| *port != 0)?;
        Some(Endpoint {
            node: self.node.def.name.clone(),
            id: self.instance.def.id.clone(),
            host: self.address().clone(),
            port,
            weight: self.weight(),
        })
    }
}

impl State {
    /// All instances of a service, whatever their health, ordered by node and id.
    pub fn instances<'a>(&'a self, service: &str) -> impl Iterator<Item = InstanceView<'a>> {
        let entry = self.service_entry(service);
        let keys = entry.into_iter().flat_map(|entry| entry.instances.iter());
        keys.filter_map(|key| self.instance_view(key))
    }

    /// The instances that may be given traffic: those not critical.
    pub fn healthy<'a>(
        &'a self,
        service: &str,
        tag: Option<&'a str>,
    ) -> impl Iterator<Item = InstanceView<'a>> {
        self.instances(service)
            .filter(move |view| tag.is_none_or(|tag| view.instance.def.has_tag(tag)))
            .filter(|view| view.health() != Health::Critical)
    }

    /// The instance with all that counts for it.
    pub fn instance_view(&self, key: &InstanceKey) -> Option<InstanceView<'_>> {
        let instance = self.catalog.instances.get(key)?;
        let node = self.catalog.nodes.get(&key.node)?;
        Some(InstanceView {
            instance: &instance.row,
            node: &node.row,
            node_checks: &node.checks,
            checks: &instance.checks,
        })
    }

    /// The checks of one instance, ordered by id; id "" gives those of the node itself.
    pub fn checks_of(&self, node: &Folded, id: &str) -> &[Arc<CheckRow>] {
        if id.is_empty() {
            return self.catalog.nodes.get(node).map_or(&[], |entry| &entry.checks);
        }
        let entry = self.catalog.instances.get(&InstanceKey::new(node, id));
        entry.map_or(&[], |entry| &entry.checks)
    }

    /// Names of all services, folded, in order.
    pub fn service_names(&self) -> impl Iterator<Item = &Folded> {
        self.catalog.services.keys()
    }

    /// Whether any instance goes by the name.
    pub fn has_service(&self, service: &str) -> bool {
        self.service_entry(service).is_some()
    }

    /// Every service's name as stored, with the tags of all its instances, sorted.
    pub fn services(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let mut services = Vec::new();
        for (folded, entry) in &self.catalog.services {
            let rows = entry.instances.iter().filter_map(|key| self.catalog.instances.get(key));
            let mut name = None;
            let mut tags: Vec<Arc<str>> = Vec::new();
            for entry in rows {
                name.get_or_insert_with(|| entry.row.def.name.clone());
                tags.extend(entry.row.def.tags.iter().cloned());
            }
            tags.sort();
            tags.dedup();
            services.push((name.unwrap_or_else(|| folded.as_str().into()), tags));
        }
        services
    }

    /// The node of that name, whatever its case.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeRow>> {
        self.catalog.nodes.get(&*fold(name)).map(|entry| &entry.row)
    }

    /// The same with its name as the state has it.
    pub fn node_named(&self, name: &Folded) -> Option<(&Folded, &Arc<NodeRow>)> {
        self.catalog.nodes.get_key_value(name).map(|(name, entry)| (name, &entry.row))
    }

    /// All nodes in order of their folded names.
    pub fn nodes(&self) -> impl Iterator<Item = (&Folded, &Arc<NodeRow>)> {
        self.catalog.nodes.iter().map(|(name, entry)| (name, &entry.row))
    }

    /// The node's instances in order of their ids.
    pub fn instances_on_node(&self, node: &Folded) -> impl Iterator<Item = &Arc<InstanceRow>> {
        let node = node.clone();
        self.catalog
            .instances
            .range(InstanceKey::new(&node, "")..)
            .take_while(move |(key, _)| key.node == node)
            .map(|(_, entry)| &entry.row)
    }

    /// All checks on the node, its own and its instances', in order of their ids.
    pub fn checks_on_node(&self, node: &Folded) -> impl Iterator<Item = &Arc<CheckRow>> {
        let node = node.clone();
        self.catalog
            .checks
            .range(CheckKey::new(&node, "")..)
            .take_while(move |(key, _)| key.node == node)
            .map(|(_, row)| row)
    }

    /// Instance `id` on `node`.
    pub fn instance(&self, node: &Folded, id: &str) -> Option<&Arc<InstanceRow>> {
        self.catalog.instances.get(&InstanceKey::new(node, id)).map(|entry| &entry.row)
    }

    /// Check `id` on `node`.
    pub fn check(&self, node: &Folded, id: &str) -> Option<&Arc<CheckRow>> {
        self.catalog.checks.get(&CheckKey::new(node, id))
    }

    /// All checks in order of node and id.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<CheckRow>> {
        self.catalog.checks.values()
    }

    /// What `catalog/nodes` answers with as its index.
    pub fn nodes_index(&self) -> Index {
        self.catalog.indexes.nodes
    }

    /// What `catalog/services` answers with as its index.
    pub fn services_index(&self) -> Index {
        self.catalog.indexes.services
    }

    /// The last change of any instance, or of the row of a node under one: what a filter over all
    /// of them can depend on.
    pub fn instances_index(&self) -> Index {
        let services = self.catalog.services.values().map(|entry| entry.catalog_index);
        services.max().unwrap_or_default().max(self.catalog.indexes.lost_service)
    }

    /// What `health/state` answers with as its index.
    pub fn checks_index(&self) -> Index {
        self.catalog.indexes.checks
    }

    /// What `catalog/node/:node` answers with: its row and its instances. Of an unknown node the
    /// last loss of any, so that changes of others do not wake who waits for it.
    pub fn node_catalog_index(&self, node: &str) -> Index {
        self.node_entry(node).map_or(self.absent_node_index(), |entry| entry.catalog_index)
    }

    /// What `health/node/:node` answers with: the same, and any check on the node.
    pub fn node_index(&self, node: &str) -> Index {
        self.node_entry(node).map_or(self.absent_node_index(), |entry| entry.index)
    }

    /// What `catalog/service/:name` answers with: of an unknown service the last extinction of
    /// any, so that changes of others do not wake who waits for it.
    pub fn service_catalog_index(&self, service: &str) -> Index {
        self.service_entry(service).map_or(self.absent_service_index(), |e| e.catalog_index)
    }

    /// What `health/service/:name` answers with.
    pub fn service_health_index(&self, service: &str) -> Index {
        self.service_entry(service).map_or(self.absent_service_index(), |e| e.health_index)
    }

    /// What `health/checks/:service` answers with.
    pub fn service_checks_index(&self, service: &str) -> Index {
        self.service_entry(service).map_or(self.absent_service_index(), |e| e.checks_index)
    }

    /// The services whose `service_health_index` moved behind `since`, some perhaps more than once.
    /// None where that is no longer known.
    pub fn services_moved_since(&self, since: Index) -> Option<impl Iterator<Item = &Folded>> {
        self.moved.since(since, self.index)
    }

    fn node_entry(&self, node: &str) -> Option<&NodeEntry> {
        self.catalog.nodes.get(&*fold(node))
    }

    fn service_entry(&self, service: &str) -> Option<&ServiceEntry> {
        self.catalog.services.get(&*fold(service))
    }

    fn absent_node_index(&self) -> Index {
        match self.catalog.indexes {
            indexes if indexes.lost_node > 0 => indexes.lost_node,
            indexes => indexes.nodes,
        }
    }

    fn absent_service_index(&self) -> Index {
        match self.catalog.indexes {
            indexes if indexes.lost_service > 0 => indexes.lost_service,
            indexes => indexes.services,
        }
    }
}

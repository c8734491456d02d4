//! Derived from the catalog: who lives at an IP address, and above which nodes a name stands.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::Folded;

use super::State;
use super::rows::{InstanceKey, InstanceRow, NodeRow};

/// What a lookup by address needs in order not to walk through the catalog.
#[derive(Clone, Default)]
pub(super) struct Places {
    nodes: OrdSet<(IpAddr, Folded)>,
    /// Only those with an address of their own.
    instances: OrdSet<(IpAddr, InstanceKey)>,
    /// What stands behind a dot of a node's name, with the number of such nodes.
    above: OrdMap<Folded, u32>,
}

impl Places {
    /// The row of a node changes, comes or goes.
    pub(super) fn move_node(
        &mut self,
        name: &Folded,
        old: Option<&Arc<NodeRow>>,
        new: Option<&Arc<NodeRow>>,
    ) {
        let ip = |row: &Arc<NodeRow>| row.def.address.parse::<IpAddr>().ok();
        let (was, is) = (old.and_then(ip), new.and_then(ip));
        if was != is {
            was.and_then(|ip| self.nodes.remove(&(ip, name.clone())));
            is.and_then(|ip| self.nodes.insert((ip, name.clone())));
        }
        if old.is_some() != new.is_some() {
            for (at, _) in name.as_str().match_indices('.') {
                let part = Folded::new(name.as_str().get(at + 1..).unwrap_or_default());
                self.count(part, new.is_some());
            }
        }
    }

    fn count(&mut self, part: Folded, one_more: bool) {
        let count = self.above.entry(part.clone()).or_default();
        *count = if one_more { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.above.remove(&part);
        }
    }

    /// The row of an instance changes, comes or goes.
    pub(super) fn move_instance(
        &mut self,
        key: &InstanceKey,
        old: Option<&Arc<InstanceRow>>,
        new: Option<&Arc<InstanceRow>>,
    ) {
        let ip = |row: &Arc<InstanceRow>| row.def.address.parse::<IpAddr>().ok();
        let (was, is) = (old.and_then(ip), new.and_then(ip));
        if was != is {
            was.and_then(|ip| self.instances.remove(&(ip, key.clone())));
            is.and_then(|ip| self.instances.insert((ip, key.clone())));
        }
    }
}

impl State {
    /// The nodes with this address, in order of their folded names.
    pub fn nodes_at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<NodeRow>> {
        let first = (ip, Folded::new(""));
        let found = self.catalog.places.nodes.range(first..);
        found
            .take_while(move |(at, _)| *at == ip)
            .filter_map(|(_, name)| self.catalog.nodes.get(name).map(|entry| &entry.row))
    }

    /// The instances that have this address as their own, in order of node and id.
    pub fn instances_at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<InstanceRow>> {
        let first = (ip, InstanceKey::new(&Folded::new(""), ""));
        let found = self.catalog.places.instances.range(first..);
        found
            .take_while(move |(at, _)| *at == ip)
            .filter_map(|(_, key)| self.catalog.instances.get(key).map(|entry| &entry.row))
    }

    /// Whether some node's name ends in a dot and this: `b.c` stands above the node `a.b.c`.
    pub fn is_above_a_node(&self, name: &str) -> bool {
        self.catalog.places.above.contains_key(&Folded::new(name))
    }
}

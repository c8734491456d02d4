//! Puts a snapshot's rows of the catalog together. Nobody waits for a state in the making: no
//! topic is named and no index moves, and what many rows say alike they share.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::Folded;

use super::catalog::{Catalog, InstanceEntry, NodeEntry};
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, NodeRow};

/// How many strings are known at most: where names, tags and addresses differ in every row, the
/// search for them is not to become long.
const SHARED: usize = 4096;

/// Makes strings that are equal the same one.
#[derive(Default)]
pub(super) struct Strings {
    known: BTreeSet<Arc<str>>,
    /// The node of the last row: those of one node follow each other.
    node: Option<Folded>,
}

impl Strings {
    fn share(&mut self, text: &mut Arc<str>) {
        match self.known.get(text.as_ref()) {
            Some(known) => *text = known.clone(),
            None if self.known.len() < SHARED => _ = self.known.insert(text.clone()),
            None => {}
        }
    }

    /// `nodes` has it as the key of its row, unless nobody has registered it.
    fn share_node(&mut self, name: &mut Folded, nodes: &OrdMap<Folded, NodeEntry>) {
        match &self.node {
            Some(last) if last == name => *name = last.clone(),
            _ => {
                if let Some((known, _)) = nodes.get_key_value(name) {
                    *name = known.clone();
                }
                self.node = Some(name.clone());
            }
        }
    }
}

impl Catalog {
    /// Nodes come before what is on them, each table in order of its keys.
    pub(super) fn load_node(&mut self, name: Folded, row: Arc<NodeRow>) {
        if let Some(agent) = row.def.agent {
            self.agents.insert((agent, name.clone()));
        }
        self.places.move_node(&name, None, Some(&row));
        let entry = NodeEntry { row, checks: Default::default(), catalog_index: 0, index: 0 };
        self.nodes.insert(name, entry);
    }

    pub(super) fn load_instance(
        &mut self,
        mut key: InstanceKey,
        mut row: Arc<InstanceRow>,
        strings: &mut Strings,
    ) {
        strings.share_node(&mut key.node, &self.nodes);
        if let Some(InstanceRow { node, def, .. }) = Arc::get_mut(&mut row) {
            alike(node, &key.node);
            alike(&mut def.id, &key.id);
            strings.share(&mut def.name);
            strings.share(&mut def.address);
            def.tags.iter_mut().for_each(|tag| strings.share(tag));
        }
        let service = Folded::of(&row.def.name);
        self.services.entry(service).or_default().instances.insert(key.clone());
        self.places.move_instance(&key, None, Some(&row));
        self.instances.insert(key, InstanceEntry { row, checks: Default::default() });
    }

    pub(super) fn load_check(
        &mut self,
        mut key: CheckKey,
        mut row: Arc<CheckRow>,
        strings: &mut Strings,
    ) {
        strings.share_node(&mut key.node, &self.nodes);
        if let Some(CheckRow { node, def, .. }) = Arc::get_mut(&mut row) {
            alike(node, &key.node);
            alike(&mut def.id, &key.id);
            strings.share(&mut def.name);
        }
        let subject = row.def.service_id.as_ref();
        let checks = match subject {
            Some(id) => {
                let subject = InstanceKey { node: key.node.clone(), id: id.clone() };
                self.instances.get_mut(&subject).map(|entry| &mut entry.checks)
            }
            None => self.nodes.get_mut(&key.node).map(|entry| &mut entry.checks),
        };
        if let Some(checks) = checks {
            // They come in order of their ids, as they are to stand here.
            *checks = checks.iter().chain([&row]).cloned().collect();
        }
        self.checks.insert(key, row);
    }
}

fn alike<T: PartialEq + Clone>(one: &mut T, other: &T) {
    if one == other {
        *one = other.clone();
    }
}

//! What each step of a change of the catalog takes of who asks: whose service and whose node it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Denied, Level, Need, Resource, Rights};
use crate::model::{CheckDef, Folded, ServiceDef};

use super::State;
use super::command::CatalogOp;
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, NodeDef};

/// Steps that are judged one after the other, each knowing the services that those before put.
pub(super) struct Steps<'a> {
    state: &'a State,
    rights: &'a Rights<'a>,
    put: BTreeMap<InstanceKey, Arc<str>>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(state: &'a State, rights: &'a Rights<'a>) -> Steps<'a> {
        Steps { state, rights, put: BTreeMap::new() }
    }

    pub(super) fn may(&mut self, op: &CatalogOp) -> Result<(), Denied> {
        match op {
            CatalogOp::PutNode(def) => self.may_put_node(def),
            CatalogOp::PutInstance { node, def, .. } => self.may_put_instance(node, def),
            CatalogOp::PutCheck { node, def, .. } => self.may_put_check(node, def),
            CatalogOp::Report { node, check, .. } => self.may_touch_check(node, check),
            CatalogOp::RemoveNode(node) => self.writes(Resource::Node, node.as_str()),
            CatalogOp::RemoveInstance { node, id } => {
                // Whoever may write a node may clear it.
                self.writes(Resource::Node, node.as_str()).or_else(|denied| {
                    match self.service(node, id) {
                        Some(name) => self.writes(Resource::Service, &name),
                        None => Err(denied),
                    }
                })
            }
            CatalogOp::RemoveCheck { node, id } => self
                .writes(Resource::Node, node.as_str())
                .or_else(|_| self.may_touch_check(node, id)),
        }
    }

    fn writes(&self, resource: Resource, name: &str) -> Result<(), Denied> {
        self.rights.may(Need::Rule(resource, name, Level::Write))
    }

    /// The service that an instance is one of.
    fn service(&self, node: &Folded, id: &str) -> Option<Arc<str>> {
        let put = self.put.get(&InstanceKey::new(node, id));
        let there = || self.state.instance(node, id).map(|row| row.def.name.clone());
        put.cloned().or_else(there)
    }

    /// A node that stays as it is takes nothing: who registers a service names its node.
    fn may_put_node(&self, def: &NodeDef) -> Result<(), Denied> {
        let same = self.state.node(&def.name).is_some_and(|row| {
            let NodeDef { agent, presence_ttl, .. } = &row.def;
            let def = NodeDef { agent: *agent, presence_ttl: *presence_ttl, ..def.clone() };
            def == row.def
        });
        if same { Ok(()) } else { self.writes(Resource::Node, &def.name) }
    }

    fn may_put_instance(&mut self, node: &Folded, def: &ServiceDef) -> Result<(), Denied> {
        self.writes(Resource::Service, &def.name)?;
        // What it puts itself in the place of is somebody's, too.
        if let Some(other) = self.service(node, &def.id).filter(|name| *name != def.name) {
            self.writes(Resource::Service, &other)?;
        }
        self.put.insert(InstanceKey::new(node, &def.id), def.name.clone());
        Ok(())
    }

    fn may_put_check(&self, node: &Folded, def: &CheckDef) -> Result<(), Denied> {
        self.may_speak(node, def.service_id.as_deref())?;
        match self.state.check(node, &def.id) {
            Some(old) if old.def.service_id != def.service_id => {
                self.may_speak(node, old.def.service_id.as_deref())
            }
            _ => Ok(()),
        }
    }

    fn may_touch_check(&self, node: &Folded, id: &str) -> Result<(), Denied> {
        let service = self.state.check(node, id).and_then(|row| row.def.service_id.clone());
        self.may_speak(node, service.as_deref())
    }

    /// For the instance that a check is about, or for the node.
    fn may_speak(&self, node: &Folded, instance: Option<&str>) -> Result<(), Denied> {
        match instance.and_then(|id| self.service(node, id)) {
            Some(service) => self.writes(Resource::Service, &service),
            None => self.writes(Resource::Node, node.as_str()),
        }
    }
}

impl State {
    /// Whether somebody may change the catalog so.
    pub fn permits_catalog(&self, rights: &Rights<'_>, ops: &[CatalogOp]) -> Result<(), Denied> {
        let mut steps = Steps::new(self, rights);
        ops.iter().try_for_each(|op| steps.may(op))
    }

    /// Whether somebody is shown an instance: its service, and the node that it is on.
    pub fn shows_instance(&self, rights: &Rights<'_>, row: &InstanceRow) -> bool {
        rights.sees(Resource::Service, &row.def.name)
            && rights.sees(Resource::Node, row.node.as_str())
    }

    /// Whether somebody is shown a check: the node that it is on, and the service that it is about.
    pub fn shows_check(&self, rights: &Rights<'_>, row: &CheckRow) -> bool {
        let service = || {
            let id = row.def.service_id.as_deref()?;
            self.instance(&row.node, id).map(|instance| instance.def.name.clone())
        };
        rights.sees(Resource::Node, row.node.as_str())
            && service().is_none_or(|name| rights.sees(Resource::Service, &name))
    }

    /// Whether somebody may write what a check of that node is about.
    pub fn permits_check(&self, rights: &Rights<'_>, key: &CheckKey) -> Result<(), Denied> {
        Steps::new(self, rights).may_touch_check(&key.node, &key.id)
    }
}

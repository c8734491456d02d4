//! What this agent promised to run: its node, its instances, their checks and how those are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{CheckDef, CheckKind, Folded, Health, Index, NodeId, Role, ServiceDef, Source};
use crate::state::{CatalogOp, NodeDef};

/// The id and name of the service whose instances are the servers.
pub(super) const SERVERS: &str = "consul";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) def: ServiceDef,
    pub(super) source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) def: CheckDef,
    pub(super) source: Source,
    pub(super) status: Health,
    /// What the catalog is to show; a newer output may be resting (`clockwork`).
    pub(super) output: String,
}

#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) node: NodeDef,
    pub(super) folded: Folded,
    /// The node row's create index when it was last seen: another one tells that the node was
    /// removed as a whole, and everything on it with it.
    pub(super) node_create: Option<Index>,
    peer_port: u16,
    /// Whether checks that came by API may run programs.
    pub(super) exec_checks: bool,
    services: BTreeMap<Arc<str>, Service>,
    checks: BTreeMap<Arc<str>, Check>,
    /// Those of them that say what others say.
    aliases: BTreeSet<Arc<str>>,
    /// The checks of each instance.
    checks_of: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// One change of the promise, and of the catalog with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    PutService(Service),
    /// With all its checks.
    RemoveService(Arc<str>),
    PutCheck(Check),
    RemoveCheck(Arc<str>),
}

impl Promise {
    pub(super) fn new(node: NodeDef, peer_port: u16, exec_checks: bool) -> Promise {
        Promise {
            peer_port,
            exec_checks,
            folded: Folded::new(&node.name),
            node,
            node_create: None,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            aliases: BTreeSet::new(),
            checks_of: BTreeMap::new(),
        }
    }

    /// Who this agent is in the cluster, which may change while it runs. A server is an instance
    /// of the service `consul`, as clients expect.
    pub(super) fn identify(&mut self, cluster: u128, id: NodeId, role: Role) {
        self.node.agent = Some(id);
        self.node.uuid = node_uuid(cluster, id);
        match (role, self.services.contains_key(SERVERS)) {
            (Role::Server, false) => {
                let mut def = ServiceDef::new(SERVERS, SERVERS);
                def.port = self.peer_port.into();
                self.edit(Edit::PutService(Service { def, source: Source::System }));
            }
            (Role::Edge | Role::Relay, true) => {
                self.edit(Edit::RemoveService(SERVERS.into()));
            }
            _ => {}
        }
    }

    pub(super) fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id)
    }

    pub(super) fn check(&self, id: &str) -> Option<&Check> {
        self.checks.get(id)
    }

    pub(super) fn check_mut(&mut self, id: &str) -> Option<&mut Check> {
        self.checks.get_mut(id)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    pub(super) fn checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.values()
    }

    /// The checks that say what others say.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &Check> {
        self.aliases.iter().filter_map(|id| self.checks.get(id))
    }

    pub(super) fn service_count(&self) -> usize {
        self.services.len()
    }

    pub(super) fn check_count(&self) -> usize {
        self.checks.len()
    }

    /// Ids of the checks of one instance.
    pub(super) fn checks_of(&self, service: &str) -> impl Iterator<Item = &Arc<str>> {
        self.checks_of.get(service).into_iter().flatten()
    }

    /// Makes one change; gives the ids of the checks that it touched.
    pub(super) fn edit(&mut self, edit: Edit) -> Vec<Arc<str>> {
        match edit {
            Edit::PutService(service) => {
                self.services.insert(service.def.id.clone(), service);
                Vec::new()
            }
            Edit::RemoveService(id) => {
                self.services.remove(&id);
                let checks = self.checks_of.remove(&id).unwrap_or_default();
                checks.iter().for_each(|check| {
                    self.aliases.remove(check);
                    self.checks.remove(check);
                });
                checks.into_iter().collect()
            }
            Edit::PutCheck(check) => {
                let id = check.def.id.clone();
                self.detach(&id);
                if let Some(service) = &check.def.service_id {
                    self.checks_of.entry(service.clone()).or_default().insert(id.clone());
                }
                match check.def.kind {
                    CheckKind::Alias { .. } => self.aliases.insert(id.clone()),
                    _ => self.aliases.remove(&id),
                };
                self.checks.insert(id.clone(), check);
                vec![id]
            }
            Edit::RemoveCheck(id) => {
                self.detach(&id);
                self.aliases.remove(&id);
                self.checks.remove(&id);
                vec![id]
            }
        }
    }

    fn detach(&mut self, check: &str) {
        let Some(service) = self.checks.get(check).and_then(|old| old.def.service_id.clone())
        else {
            return;
        };
        if let Some(checks) = self.checks_of.get_mut(&service) {
            checks.remove(check);
            if checks.is_empty() {
                self.checks_of.remove(&service);
            }
        }
    }
}

impl Edit {
    /// The same change of the catalog.
    pub(super) fn op(&self, node: &Folded) -> CatalogOp {
        let node = node.clone();
        match self {
            Edit::PutService(Service { def, source }) => {
                CatalogOp::PutInstance { node, def: def.clone(), source: *source }
            }
            Edit::RemoveService(id) => CatalogOp::RemoveInstance { node, id: id.clone() },
            Edit::PutCheck(check) => check.put(&node),
            Edit::RemoveCheck(id) => CatalogOp::RemoveCheck { node, id: id.clone() },
        }
    }
}

impl Check {
    /// A check that has no result yet.
    pub(super) fn new(def: CheckDef, source: Source) -> Check {
        Check { status: def.initial, output: String::new(), def, source }
    }

    pub(super) fn put(&self, node: &Folded) -> CatalogOp {
        CatalogOp::PutCheck {
            node: node.clone(),
            def: self.def.clone(),
            status: self.status,
            output: self.output.clone(),
            source: self.source,
        }
    }

    pub(super) fn report(&self, node: &Folded) -> CatalogOp {
        CatalogOp::Report {
            node: node.clone(),
            check: self.def.id.clone(),
            status: self.status,
            output: self.output.clone(),
        }
    }
}

/// The node's UUID: the same for the same node of the same cluster, another for any other.
pub(super) fn node_uuid(cluster: u128, node: NodeId) -> String {
    // An odd multiplier is a bijection, so two ids of one cluster never meet.
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mixed = cluster ^ u128::from(node.0).wrapping_mul(SPREAD);
    uuid::Builder::from_custom_bytes(mixed.to_be_bytes()).into_uuid().to_string()
}

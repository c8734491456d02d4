//! The rows of Consul's answers by the names under which filters know their fields.

use crate::consul::rows::shown_times;
use crate::model::{ServiceDef, Weights};
use crate::state::{CheckRow, InstanceRow, InstanceView, NodeRow, State};

use super::evaluate::{Datum, Row};

/// An instance as agents, and nodes of the catalog, show it.
pub struct Service<'a>(pub &'a InstanceRow);

impl Row for Service<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        let def = &self.0.def;
        match name {
            "Service" => Datum::Text(&def.name),
            // One table for what the catalog shows under longer names.
            "ID" | "Address" | "EnableTagOverride" | "Meta" | "Port" | "TaggedAddresses"
            | "Tags" | "Weights" => of_service(def, name),
            "Proxy" => Datum::Part(Box::new(Proxy)),
            _ => Datum::Nothing,
        }
    }
}

/// Of the mesh: all of it is unset.
struct Proxy;

impl Row for Proxy {
    fn field(&self, name: &str) -> Datum<'_> {
        match name {
            "Upstreams" => Datum::Parts(Vec::new()),
            _ => Datum::Nothing,
        }
    }
}

fn of_service<'a>(def: &'a ServiceDef, name: &str) -> Datum<'a> {
    match name {
        "ID" => Datum::Text(&def.id),
        "Name" => Datum::Text(&def.name),
        "Address" => Datum::Text(&def.address),
        "EnableTagOverride" => Datum::Truth(def.enable_tag_override),
        "Meta" => Datum::Words(&def.meta),
        "Port" => Datum::Number(def.port.into()),
        "TaggedAddresses" => Datum::Addresses(&def.tagged_addresses),
        "Tags" => Datum::Texts(&def.tags),
        "Weights" => Datum::Part(Box::new(def.weights)),
        "Proxy" => Datum::Part(Box::new(Proxy)),
        _ => Datum::Nothing,
    }
}

impl Row for Weights {
    fn field(&self, name: &str) -> Datum<'_> {
        match name {
            "Passing" => Datum::Number(self.passing.into()),
            "Warning" => Datum::Number(self.warning.into()),
            _ => Datum::Nothing,
        }
    }
}

pub struct Node<'a> {
    pub row: &'a NodeRow,
    pub datacenter: &'a str,
}

impl Row for Node<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        let def = &self.row.def;
        match name {
            "ID" => Datum::Text(&def.uuid),
            "Node" => Datum::Text(&def.name),
            "Address" => Datum::Text(&def.address),
            "Datacenter" => Datum::Text(self.datacenter),
            "Meta" => Datum::Words(&def.meta),
            "TaggedAddresses" => Datum::Words(&def.tagged_addresses),
            _ => Datum::Nothing,
        }
    }
}

/// A check with the name of its node and the instance that it speaks of.
pub struct Check<'a> {
    row: &'a CheckRow,
    node: &'a str,
    instance: Option<&'a ServiceDef>,
    interval: String,
    timeout: String,
}

impl<'a> Check<'a> {
    pub fn new(row: &'a CheckRow, node: &'a str, instance: Option<&'a ServiceDef>) -> Check<'a> {
        let (interval, timeout) = shown_times(&row.def);
        Check { row, node, instance, interval, timeout }
    }

    fn boxed(self) -> Box<dyn Row + 'a> {
        Box::new(self)
    }

    /// Looks its node and instance up.
    pub fn of(state: &'a State, row: &'a CheckRow) -> Check<'a> {
        let node = state.node(row.node.as_str()).map_or(row.node.as_str(), |n| &*n.def.name);
        let id = row.def.service_id.as_deref();
        let instance = id.and_then(|id| state.instance(&row.node, id)).map(|i| &i.def);
        Check::new(row, node, instance)
    }
}

impl Row for Check<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        let def = &self.row.def;
        match name {
            "Node" => Datum::Text(self.node),
            "CheckID" => Datum::Text(&def.id),
            "Name" => Datum::Text(&def.name),
            "Notes" => Datum::Text(&def.notes),
            "Output" => Datum::Text(&self.row.output),
            "Status" => Datum::Text(self.row.status.as_str()),
            "Type" => Datum::Text(def.type_name()),
            "Interval" => Datum::Text(&self.interval),
            "Timeout" => Datum::Text(&self.timeout),
            "ServiceID" => Datum::Text(def.service_id.as_deref().unwrap_or_default()),
            "ServiceName" => Datum::Text(self.instance.map_or("", |def| &def.name)),
            "ServiceTags" => Datum::Texts(self.instance.map_or(&[], |def| &def.tags)),
            _ => Datum::Nothing,
        }
    }
}

/// A row of `health/service`.
pub struct Instance<'a> {
    pub view: &'a InstanceView<'a>,
    pub datacenter: &'a str,
}

impl Row for Instance<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        let InstanceView { instance, node, node_checks, checks } = *self.view;
        match name {
            "Node" => Datum::Part(Box::new(Node { row: node, datacenter: self.datacenter })),
            "Service" => Datum::Part(Box::new(Service(instance))),
            "Checks" => {
                let (node, def) = (&*node.def.name, Some(&instance.def));
                let of_node = node_checks.iter().map(|row| Check::new(row, node, None).boxed());
                let own = checks.iter().map(|row| Check::new(row, node, def).boxed());
                Datum::Parts(of_node.chain(own).collect())
            }
            _ => Datum::Nothing,
        }
    }
}

/// A row of `catalog/service`.
pub struct ServiceNode<'a> {
    pub instance: &'a InstanceRow,
    pub node: &'a NodeRow,
    pub datacenter: &'a str,
}

impl Row for ServiceNode<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        let node = &self.node.def;
        match (name, name.strip_prefix("Service")) {
            ("ID", _) => Datum::Text(&node.uuid),
            ("Node", _) => Datum::Text(&node.name),
            ("Address", _) => Datum::Text(&node.address),
            ("Datacenter", _) => Datum::Text(self.datacenter),
            ("NodeMeta", _) => Datum::Words(&node.meta),
            ("TaggedAddresses", _) => Datum::Words(&node.tagged_addresses),
            (_, Some(of_service_name)) => of_service(&self.instance.def, of_service_name),
            _ => Datum::Nothing,
        }
    }
}

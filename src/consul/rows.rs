//! The JSON shapes of rows as Consul's clients know them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::{
    CheckDef, CheckKind, Health, Index, ServiceDef, Source, TaggedAddress, Target, Weights,
};
use crate::state::{CheckRow, InstanceRow, InstanceView, KeyRow, NodeRow, State};

use super::duration;

/// A key of `/v1/kv`.
pub struct KeyJson<'a> {
    pub key: &'a str,
    pub row: &'a KeyRow,
}

impl Serialize for KeyJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("DirEntry", 7)?;
        fields.serialize_field("LockIndex", &self.row.lock_index())?;
        fields.serialize_field("Key", self.key)?;
        fields.serialize_field("Flags", &self.row.flags)?;
        let value = (!self.row.value.is_empty()).then(|| STANDARD.encode(&self.row.value));
        fields.serialize_field("Value", &value)?;
        if let Some(holder) = self.row.holder() {
            fields.serialize_field("Session", &holder.to_string())?;
        }
        fields.serialize_field("CreateIndex", &self.row.create)?;
        fields.serialize_field("ModifyIndex", &self.row.modified)?;
        fields.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Option<&'a BTreeMap<String, String>>,
    meta: Option<&'a BTreeMap<String, String>>,
    create_index: Index,
    modify_index: Index,
}

/// What was not set is `null`.
fn set<K, V>(map: &BTreeMap<K, V>) -> Option<&BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}

impl<'a> NodeJson<'a> {
    pub fn new(row: &'a NodeRow, datacenter: &'a str) -> NodeJson<'a> {
        NodeJson {
            id: &row.def.uuid,
            node: &row.def.name,
            address: &row.def.address,
            datacenter,
            tagged_addresses: set(&row.def.tagged_addresses),
            meta: set(&row.def.meta),
            create_index: row.create,
            modify_index: row.modified,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddressJson<'a> {
    address: &'a str,
    port: i32,
}

type Addresses<'a> = BTreeMap<&'a str, AddressJson<'a>>;

fn addresses(tagged: &BTreeMap<String, TaggedAddress>) -> Addresses<'_> {
    tagged
        .iter()
        .map(|(name, to)| (name.as_str(), AddressJson { address: &to.address, port: to.port }))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WeightsJson {
    passing: u16,
    warning: u16,
}

impl From<Weights> for WeightsJson {
    fn from(weights: Weights) -> WeightsJson {
        WeightsJson { passing: weights.passing, warning: weights.warning }
    }
}

/// An object without members.
#[derive(Serialize)]
struct Empty {}

/// The mesh is not part of this: its members are there, and empty.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProxyJson {
    mesh_gateway: Empty,
    expose: Empty,
}

const PROXY: ProxyJson = ProxyJson { mesh_gateway: Empty {}, expose: Empty {} };

/// A service instance inside the answers of health and catalog.
pub struct ServiceJson<'a>(pub &'a InstanceRow);

impl Serialize for ServiceJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let InstanceRow { def, create, modified, .. } = self.0;
        let mut fields = serializer.serialize_struct("NodeService", 13)?;
        fields.serialize_field("ID", &*def.id)?;
        fields.serialize_field("Service", &*def.name)?;
        fields.serialize_field("Tags", &Tags(&def.tags))?;
        fields.serialize_field("Address", &*def.address)?;
        if !def.tagged_addresses.is_empty() {
            fields.serialize_field("TaggedAddresses", &addresses(&def.tagged_addresses))?;
        }
        fields.serialize_field("Meta", &set(&def.meta))?;
        fields.serialize_field("Port", &def.port)?;
        fields.serialize_field("Weights", &WeightsJson::from(def.weights))?;
        fields.serialize_field("EnableTagOverride", &def.enable_tag_override)?;
        fields.serialize_field("Proxy", &PROXY)?;
        fields.serialize_field("Connect", &Empty {})?;
        fields.serialize_field("CreateIndex", create)?;
        fields.serialize_field("ModifyIndex", modified)?;
        fields.end()
    }
}

/// An instance as its own agent shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentServiceJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: Tags<'a>,
    meta: &'a BTreeMap<String, String>,
    port: i32,
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: Addresses<'a>,
    weights: WeightsJson,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<&'a str>,
    datacenter: &'a str,
}

impl<'a> AgentServiceJson<'a> {
    pub fn new(row: &'a InstanceRow, datacenter: &'a str) -> AgentServiceJson<'a> {
        let def = &row.def;
        AgentServiceJson {
            id: &def.id,
            service: &def.name,
            tags: Tags(&def.tags),
            meta: &def.meta,
            port: def.port,
            address: &def.address,
            tagged_addresses: addresses(&def.tagged_addresses),
            weights: def.weights.into(),
            enable_tag_override: def.enable_tag_override,
            content_hash: None,
            datacenter,
        }
    }

    pub fn with_hash(row: &'a InstanceRow, datacenter: &'a str, hash: &'a str) -> Self {
        AgentServiceJson { content_hash: Some(hash), ..AgentServiceJson::new(row, datacenter) }
    }
}

struct Tags<'a>(&'a [Arc<str>]);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|tag| &**tag))
    }
}

/// A row of `catalog/service/:name`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceNodeJson<'a> {
    #[serde(flatten)]
    node: NodePart<'a>,
    #[serde(flatten)]
    service: ServicePart<'a>,
    create_index: Index,
    modify_index: Index,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodePart<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Option<&'a BTreeMap<String, String>>,
    node_meta: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServicePart<'a> {
    service_kind: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Tags<'a>,
    service_address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_tagged_addresses: Addresses<'a>,
    service_weights: WeightsJson,
    service_meta: &'a BTreeMap<String, String>,
    service_port: i32,
    service_enable_tag_override: bool,
    service_proxy: ProxyJson,
    service_connect: Empty,
}

impl<'a> ServiceNodeJson<'a> {
    pub fn new(view: &InstanceView<'a>, datacenter: &'a str) -> ServiceNodeJson<'a> {
        let (node, def) = (&view.node.def, &view.instance.def);
        ServiceNodeJson {
            node: NodePart {
                id: &node.uuid,
                node: &node.name,
                address: &node.address,
                datacenter,
                tagged_addresses: set(&node.tagged_addresses),
                node_meta: set(&node.meta),
            },
            service: service_part(def),
            create_index: view.instance.create,
            modify_index: view.instance.modified,
        }
    }
}

fn service_part(def: &ServiceDef) -> ServicePart<'_> {
    ServicePart {
        service_kind: "",
        service_id: &def.id,
        service_name: &def.name,
        service_tags: Tags(&def.tags),
        service_address: &def.address,
        service_tagged_addresses: addresses(&def.tagged_addresses),
        service_weights: def.weights.into(),
        service_meta: &def.meta,
        service_port: def.port,
        service_enable_tag_override: def.enable_tag_override,
        service_proxy: PROXY,
        service_connect: Empty {},
    }
}

/// A health check, with the name and tags of the instance that it speaks of.
pub struct CheckJson<'a> {
    row: &'a CheckRow,
    node: &'a str,
    instance: Option<&'a ServiceDef>,
    /// An agent's own list has no indexes.
    indexed: bool,
    /// What it has said since it was told to the catalog.
    newest: Option<String>,
}

impl<'a> CheckJson<'a> {
    pub fn new(row: &'a CheckRow, node: &'a str, instance: Option<&'a ServiceDef>) -> Self {
        CheckJson { row, node, instance, indexed: true, newest: None }
    }

    /// As its own agent shows it, with the output that it knows to be the newest.
    pub fn own(state: &'a State, row: &'a CheckRow, newest: Option<String>) -> CheckJson<'a> {
        CheckJson { indexed: false, newest, ..CheckJson::of(state, row) }
    }

    /// Looks its node and instance up.
    pub fn of(state: &'a State, row: &'a CheckRow) -> CheckJson<'a> {
        let node = state.node(row.node.as_str()).map_or(row.node.as_str(), |n| &*n.def.name);
        let id = row.def.service_id.as_deref();
        let instance = id.and_then(|id| state.instance(&row.node, id)).map(|i| &i.def);
        CheckJson::new(row, node, instance)
    }
}

impl Serialize for CheckJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let CheckRow { def, status, output, create, modified, .. } = self.row;
        let (create, modified) = if self.indexed { (*create, *modified) } else { (0, 0) };
        let (interval, timeout) = shown_times(def);
        let mut fields = serializer.serialize_struct("HealthCheck", 16)?;
        fields.serialize_field("Node", self.node)?;
        fields.serialize_field("CheckID", &*def.id)?;
        fields.serialize_field("Name", &*def.name)?;
        fields.serialize_field("Status", status)?;
        fields.serialize_field("Notes", &def.notes)?;
        fields.serialize_field("Output", self.newest.as_ref().unwrap_or(output))?;
        fields.serialize_field("ServiceID", def.service_id.as_deref().unwrap_or_default())?;
        fields.serialize_field("ServiceName", self.instance.map_or("", |def| &def.name))?;
        let tags = self.instance.map_or(&[][..], |def| &def.tags);
        fields.serialize_field("ServiceTags", &Tags(tags))?;
        fields.serialize_field("Type", def.type_name())?;
        fields.serialize_field("Interval", &interval)?;
        fields.serialize_field("Timeout", &timeout)?;
        fields.serialize_field("ExposedPort", &0)?;
        fields.serialize_field("Definition", &Definition(self.row))?;
        fields.serialize_field("CreateIndex", &create)?;
        fields.serialize_field("ModifyIndex", &modified)?;
        fields.end()
    }
}

/// How often a check is run and how long it may take; of one that nobody runs, nothing.
pub fn shown_times(def: &CheckDef) -> (String, String) {
    match &def.kind {
        CheckKind::Probe { interval, timeout, .. } => {
            (duration::format(*interval), duration::format(*timeout))
        }
        _ => (String::new(), String::new()),
    }
}

/// How a check is run, shown only for rows that came by catalog.
struct Definition<'a>(&'a CheckRow);

impl Serialize for Definition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members: BTreeMap<&str, String> = BTreeMap::new();
        if self.0.source == Source::Catalog {
            let def = &self.0.def;
            if let CheckKind::Probe { target, interval, timeout } = &def.kind {
                let (name, value) = asked(target);
                members.insert(name, value);
                members.insert("Interval", duration::format(*interval));
                members.insert("Timeout", duration::format(*timeout));
            }
            if let Some(after) = def.deregister_after {
                members.insert("DeregisterCriticalServiceAfter", duration::format(after));
            }
        }
        members.serialize(serializer)
    }
}

/// Consul's name for the kind of a probe, and whom it asks.
fn asked(target: &Target) -> (&'static str, String) {
    match target {
        Target::Http(http) => ("HTTP", http.url.clone()),
        Target::Tcp { address, .. } => ("TCP", address.clone()),
        Target::Udp { address } => ("UDP", address.clone()),
        Target::H2Ping { address, .. } => ("H2PING", address.clone()),
        Target::Grpc { address, service, .. } if service.is_empty() => ("GRPC", address.clone()),
        Target::Grpc { address, service, .. } => ("GRPC", format!("{address}/{service}")),
        Target::Exec { argv } => ("ScriptArgs", argv.join(" ")),
    }
}

/// A row of `health/service/:name`.
pub struct HealthJson<'a> {
    pub view: InstanceView<'a>,
    pub datacenter: &'a str,
}

impl Serialize for HealthJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CheckServiceNode", 3)?;
        fields.serialize_field("Node", &NodeJson::new(self.view.node, self.datacenter))?;
        fields.serialize_field("Service", &ServiceJson(self.view.instance))?;
        fields.serialize_field("Checks", &ChecksOf(&self.view))?;
        fields.end()
    }
}

struct ChecksOf<'a>(&'a InstanceView<'a>);

impl Serialize for ChecksOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = &*self.0.node.def.name;
        let own = |row| CheckJson::new(row, node, Some(&self.0.instance.def));
        let of_node = self.0.node_checks.iter().map(|row| CheckJson::new(row, node, None));
        serializer.collect_seq(of_node.chain(self.0.checks.iter().map(|row| own(row))))
    }
}

/// Consul's word for a state in a path; `any` is all of them.
pub fn state_filter(word: &[u8]) -> Option<Option<Health>> {
    match word {
        b"any" => Some(None),
        b"passing" => Some(Some(Health::Passing)),
        b"warning" => Some(Some(Health::Warning)),
        b"critical" => Some(Some(Health::Critical)),
        _ => None,
    }
}

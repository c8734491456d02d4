//! Turns the bodies of `catalog/register` and `catalog/deregister` into changes of the catalog.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    CheckDef, CheckKind, Folded, Health, ServiceDef, Source, TaggedAddress, Weights,
};
use crate::state::{CatalogOp, NodeDef, PRESENCE_CHECK, State};

use super::decode::{self, DecodeError, Fields};
use super::error::Failure;
use super::probe::Asked;

/// A namespace is the one unknown field that Consul explains.
fn undecodable(error: DecodeError) -> Failure {
    let why = if error.0 == "json: unknown field \"Namespace\"" {
        " - Namespaces are a Consul Enterprise feature"
    } else {
        ""
    };
    Failure::bad(format!("Request decode failed: {error}{why}"))
}

/// The node, its instance and its checks, as one change. `state` is asked which agent runs the
/// node, which a registration must not forget.
pub fn register(body: &[u8], datacenter: &str, state: &State) -> Result<Vec<CatalogOp>, Failure> {
    let entry = Entry::decode(body).map_err(undecodable)?;
    entry.check(datacenter)?;
    let node = Folded::new(&entry.node.name);
    let mut ops = Vec::new();
    if !entry.node.uuid.is_empty() {
        check_reserved(&entry.node, state)?;
        // The same node under another name: what stood under its old one goes.
        let renamed = state.nodes().filter(|(name, row)| {
            row.def.uuid.eq_ignore_ascii_case(&entry.node.uuid) && **name != node
        });
        ops.extend(renamed.map(|(name, _)| CatalogOp::RemoveNode(name.clone())));
    }
    if !entry.skip_node_update || state.node(node.as_str()).is_none() {
        let mut def = entry.node.clone();
        if let Some(known) = state.node(node.as_str()) {
            def.agent = known.def.agent;
            def.presence_ttl = known.def.presence_ttl;
        }
        ops.push(CatalogOp::PutNode(def));
    }
    if let Some(def) = entry.service {
        ops.push(CatalogOp::PutInstance { node: node.clone(), def, source: Source::Catalog });
    }
    for check in entry.checks {
        let Check { def, status, output, .. } = check;
        let node = node.clone();
        ops.push(CatalogOp::PutCheck { node, def, status, output, source: Source::Catalog });
    }
    Ok(ops)
}

/// How Go calls a check in the catalog.
const CHECK: &str = "structs.HealthCheck";

struct Entry {
    datacenter: String,
    node: NodeDef,
    skip_node_update: bool,
    service: Option<ServiceDef>,
    /// An id was given for the service.
    service_id: bool,
    checks: Vec<Check>,
}

pub struct Check {
    pub def: CheckDef,
    pub node: String,
    pub status: Health,
    pub output: String,
}

impl Entry {
    fn decode(body: &[u8]) -> Result<Entry, DecodeError> {
        let mut fields = decode::object(body, "structs.RegisterRequest")?;
        let node = NodeDef {
            name: fields.string(&["Node"])?.into(),
            agent: None,
            uuid: fields.string(&["ID"])?,
            address: fields.string(&["Address"])?.into(),
            tagged_addresses: fields.map(&["TaggedAddresses"])?,
            meta: fields.map(&["NodeMeta"])?,
            presence_ttl: Duration::ZERO,
        };
        let service =
            fields.object(&["Service"], "structs.NodeService")?.map(service).transpose()?;
        let mut checks = fields.objects(&["Checks"], CHECK)?;
        checks.extend(fields.object(&["Check"], CHECK)?);
        let entry = Entry {
            datacenter: fields.string(&["Datacenter"])?,
            node,
            skip_node_update: fields.boolean(&["SkipNodeUpdate"])?,
            service_id: service.as_ref().is_some_and(|(_, with_id)| *with_id),
            service: service.map(|(def, _)| def),
            checks: checks.into_iter().map(check).collect::<Result<_, _>>()?,
        };
        fields.skip(&["Locality", "WriteRequest"]);
        fields.finish()?;
        Ok(entry)
    }

    fn check(&self, datacenter: &str) -> Result<(), Failure> {
        if !self.datacenter.is_empty() && self.datacenter != datacenter {
            return Err(Failure::internal("No path to datacenter"));
        }
        if self.node.name.is_empty() {
            return Err(Failure::internal("Must provide node"));
        }
        if self.node.address.is_empty() && !self.skip_node_update {
            return Err(Failure::internal("Must provide address if SkipNodeUpdate is not set"));
        }
        if let Some(flaw) = node_id_flaw(&self.node.uuid) {
            return Err(Failure::internal(flaw));
        }
        if let Some(service) = &self.service {
            if service.name.is_empty() {
                return Err(Failure::internal(if self.service_id {
                    "Must provide service name (Service.Service) when service ID is provided"
                } else {
                    "Must provide service name (Service.Service)"
                }));
            }
            if matches!(&*service.address, "0.0.0.0" | "::" | "[::]") {
                return Err(Failure::internal("Invalid service address"));
            }
        }
        for check in &self.checks {
            if check.def.id.is_empty() {
                return Err(Failure::internal("Must provide check name or CheckID"));
            }
            if !check.node.is_empty() && Folded::new(&check.node) != Folded::new(&self.node.name) {
                return Err(Failure::internal(format!(
                    "Node '{}' for check '{}' doesn't match register request node '{}'",
                    check.node, check.def.id, self.node.name
                )));
            }
        }
        Ok(())
    }
}

/// A name whose node is alive under another id is not given away.
fn check_reserved(node: &NodeDef, state: &State) -> Result<(), Failure> {
    let Some(known) = state.node(&node.name) else { return Ok(()) };
    let id = &known.def.uuid;
    let check = state.check(&Folded::new(&node.name), PRESENCE_CHECK);
    let alive = check.is_some_and(|check| check.status != Health::Critical);
    if !alive || id.is_empty() || id.eq_ignore_ascii_case(&node.uuid) {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "failed inserting node: Error while renaming Node ID: {:?}: Node name {} is reserved by \
         node {id} with name {} ({})",
        node.uuid, node.name, known.def.name, known.def.address
    )))
}

/// What is wrong with a node's id.
pub fn node_id_flaw(id: &str) -> Option<&'static str> {
    match id.len() {
        0 => None,
        36 if uuid::Uuid::try_parse(id).is_ok() => None,
        36 => Some("Bad node ID: uuid is improperly formatted"),
        _ => Some("Bad node ID: uuid string is wrong length"),
    }
}

/// The definition, and whether an id was given; without one the name is the id.
pub fn service(mut fields: Fields) -> Result<(ServiceDef, bool), DecodeError> {
    let id = fields.string(&["ID"])?;
    let name = fields.string(&["Service"])?;
    let mut def = ServiceDef::new(if id.is_empty() { &name } else { &id }, &name);
    def.tags = fields.strings(&["Tags"])?.into_iter().map(Arc::from).collect();
    def.meta = fields.map(&["Meta"])?;
    def.address = fields.string(&["Address"])?.into();
    def.port = port(&mut fields)?;
    def.enable_tag_override = fields.boolean(&["EnableTagOverride"])?;
    for (name, mut fields) in
        fields.objects_by_name(&["TaggedAddresses"], "structs.ServiceAddress")?
    {
        def.tagged_addresses.insert(name, tagged_address(&mut fields)?);
        fields.finish()?;
    }
    if let Some(mut weights) = fields.object(&["Weights"], "structs.Weights")? {
        let share = |number: Option<i64>| number.unwrap_or_default().clamp(0, 65_535) as u16;
        let passing = share(weights.integer(&["Passing"])?);
        let warning = share(weights.integer(&["Warning"])?);
        def.weights = Weights { passing, warning };
        weights.finish()?;
    }
    fields.skip(&["Kind", "Proxy", "Connect", "Locality", "SocketPath", "PeerName"]);
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok((def, !id.is_empty()))
}

/// As the client sent it; what an `i32` cannot hold is cut to its ends.
pub fn port(fields: &mut Fields) -> Result<i32, DecodeError> {
    let port = fields.integer(&["Port"])?.unwrap_or_default();
    Ok(port.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

pub fn tagged_address(fields: &mut Fields) -> Result<TaggedAddress, DecodeError> {
    Ok(TaggedAddress { address: fields.string(&["Address"])?, port: port(fields)? })
}

pub fn check(mut fields: Fields) -> Result<Check, DecodeError> {
    let name = fields.string(&["Name"])?;
    let id = fields.string(&["CheckID"])?;
    let mut def = CheckDef::new(if id.is_empty() { &name } else { &id }, &name, CheckKind::Static);
    def.notes = fields.string(&["Notes"])?;
    let service = fields.string(&["ServiceID"])?;
    def.service_id = (!service.is_empty()).then(|| service.into());
    if let Some(definition) = fields.object(&["Definition"], "structs.HealthCheckDefinition")? {
        definition_of(&mut def, definition)?;
    }
    // Consul takes any word; one that it does not know passes nowhere, so neither does it here.
    let status = fields.string(&["Status"])?.parse().unwrap_or(Health::Critical);
    def.initial = status;
    let check =
        Check { def, node: fields.string(&["Node"])?, status, output: fields.string(&["Output"])? };
    fields.skip(&["ServiceName", "ServiceTags", "Type", "Interval", "Timeout", "ExposedPort"]);
    fields.skip(&["PeerName", "CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(check)
}

/// What would run the check. It is only shown: nobody runs what came by catalog.
fn definition_of(def: &mut CheckDef, mut fields: Fields) -> Result<(), DecodeError> {
    let interval = fields.duration(&["Interval", "IntervalDuration"])?.unwrap_or_default();
    let timeout = fields.duration(&["Timeout", "TimeoutDuration"])?.unwrap_or_default();
    let after = ["DeregisterCriticalServiceAfter", "DeregisterCriticalServiceAfterDuration"];
    def.deregister_after = fields.duration(&after)?;
    match Asked::read(&mut fields)? {
        Asked::Probe(target) => def.kind = CheckKind::probe(target, interval, timeout),
        Asked::Alias { node, service } => def.kind = CheckKind::Alias { node, service },
        Asked::Nothing | Asked::Unable(_) => {}
    }
    fields.skip(&["SessionName", "TTL"]);
    fields.finish()
}

/// The one thing that goes: an instance before a check before the whole node.
pub fn deregister(body: &[u8], datacenter: &str) -> Result<CatalogOp, Failure> {
    let mut fields =
        decode::object_of_type(body, "", "structs.DeregisterRequest").map_err(undecodable)?;
    let mut text = |names: &[&str]| fields.string(names).map_err(undecodable);
    let (node, asked) = (text(&["Node"])?, text(&["Datacenter"])?);
    let (service, check) = (text(&["ServiceID"])?, text(&["CheckID"])?);
    text(&["Address"])?;
    fields.skip(&["WriteRequest"]);
    fields.finish().map_err(undecodable)?;
    if !asked.is_empty() && asked != datacenter {
        return Err(Failure::internal("No path to datacenter"));
    }
    if node.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let node = Folded::new(&node);
    Ok(match (service.is_empty(), check.is_empty()) {
        (false, _) => CatalogOp::RemoveInstance { node, id: service.into() },
        (true, false) => CatalogOp::RemoveCheck { node, id: check.into() },
        (true, true) => CatalogOp::RemoveNode(node),
    })
}

//! Decides changes of the catalog: nodes, instances, checks, and what a silent agent means.

use std::sync::Arc;

use crate::model::{CheckDef, Folded, Health, NodeId, ServiceDef, Source};
use crate::state::change::Change;
use crate::state::command::{CatalogOp, Outcome, Refusal};
use crate::state::presence::{ABSENT, PRESENCE_CHECK, presence_check};
use crate::state::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, NodeDef, NodeRow};

use super::draft::Draft;

pub(super) fn operate(draft: &mut Draft<'_>, ops: &[CatalogOp]) -> Result<Outcome, Refusal> {
    for op in ops {
        match op {
            CatalogOp::PutNode(def) => put_node(draft, def)?,
            CatalogOp::PutInstance { node, def, source } => {
                put_instance(draft, node, def, *source)?;
            }
            CatalogOp::PutCheck { node, def, status, output, source } => {
                put_check(draft, node, def, *status, output, *source)?;
            }
            CatalogOp::Report { node, check, status, output } => {
                report(draft, node, check, *status, output);
            }
            CatalogOp::RemoveNode(node) => remove_node(draft, node),
            CatalogOp::RemoveInstance { node, id } => remove_instance(draft, node, id),
            CatalogOp::RemoveCheck { node, id } => remove_check(draft, node, id),
        }
    }
    Ok(Outcome::Done)
}

fn put_node(draft: &mut Draft<'_>, def: &NodeDef) -> Result<(), Refusal> {
    let name = Folded::new(&def.name);
    let index = draft.index();
    let state = draft.state();
    let old = state.catalog.nodes.get(&name).map(|entry| entry.row.clone());
    let mut def = def.clone();
    match (old.as_ref().and_then(|old| old.def.agent), def.agent) {
        // An older incarnation cannot take its successor's node back.
        (Some(owner), Some(agent)) if agent < owner && state.members.contains_key(&owner) => {
            return Err(Refusal::NodeOwned { name, owner });
        }
        // Who registers a node by catalog knows nothing of the agent that lives on it.
        (Some(owner), None) => {
            def.agent = Some(owner);
            def.presence_ttl = old.as_ref().map_or(def.presence_ttl, |old| old.def.presence_ttl);
        }
        _ => {}
    }
    if old.as_ref().is_some_and(|old| old.def == def) {
        return Ok(());
    }
    let create = old.map_or(index, |old| old.create);
    let row = NodeRow { def, create, modified: index };
    draft.push(Change::Node(name, Some(Arc::new(row))));
    Ok(())
}

fn put_instance(
    draft: &mut Draft<'_>,
    node: &Folded,
    def: &ServiceDef,
    source: Source,
) -> Result<(), Refusal> {
    let index = draft.index();
    let state = draft.state();
    if !state.catalog.nodes.contains_key(node) {
        return Err(Refusal::NoNode(node.clone()));
    }
    let key = InstanceKey::new(node, &def.id);
    let old = state.catalog.instances.get(&key).map(|entry| entry.row.clone());
    if old.as_ref().is_some_and(|old| old.def == *def && old.source == source) {
        return Ok(());
    }
    let create = old.map_or(index, |old| old.create);
    let (node, def) = (node.clone(), def.clone());
    let row = InstanceRow { node, def, source, create, modified: index };
    draft.push(Change::Instance(key, Some(Arc::new(row))));
    Ok(())
}

fn put_check(
    draft: &mut Draft<'_>,
    node: &Folded,
    def: &CheckDef,
    status: Health,
    output: &str,
    source: Source,
) -> Result<(), Refusal> {
    let index = draft.index();
    let state = draft.state();
    if !state.catalog.nodes.contains_key(node) {
        return Err(Refusal::NoNode(node.clone()));
    }
    if let Some(id) = &def.service_id
        && !state.catalog.instances.contains_key(&InstanceKey::new(node, id))
    {
        let (node, id, check) = (node.clone(), id.clone(), def.id.clone());
        return Err(Refusal::NoInstanceForCheck { node, id, check });
    }
    let key = CheckKey::new(node, &def.id);
    let old = state.catalog.checks.get(&key).cloned();
    let same = old.as_ref().is_some_and(|old| {
        old.def == *def && old.status == status && old.output == output && old.source == source
    });
    if same {
        return Ok(());
    }
    let create = old.map_or(index, |old| old.create);
    let (node, def, output) = (node.clone(), def.clone(), output.to_owned());
    let row = CheckRow { node, def, status, output, source, create, modified: index };
    draft.push(Change::Check(key, Some(Arc::new(row))));
    Ok(())
}

fn report(draft: &mut Draft<'_>, node: &Folded, check: &str, status: Health, output: &str) {
    let index = draft.index();
    let key = CheckKey::new(node, check);
    let Some(old) = draft.state().catalog.checks.get(&key).cloned() else { return };
    if old.status == status && old.output == output {
        return;
    }
    let mut row = CheckRow::clone(&old);
    row.status = status;
    row.output = output.to_owned();
    row.modified = index;
    draft.push(Change::Check(key, Some(Arc::new(row))));
}

pub(super) fn remove_node(draft: &mut Draft<'_>, node: &Folded) {
    let catalog = &draft.state().catalog;
    let (checks, instances) = (catalog.checks_on(node), catalog.instances_on(node));
    let exists = catalog.nodes.contains_key(node);
    for key in checks {
        draft.push(Change::Check(key, None));
    }
    for key in instances {
        draft.push(Change::Instance(key, None));
    }
    if exists {
        draft.push(Change::Node(node.clone(), None));
    }
}

fn remove_instance(draft: &mut Draft<'_>, node: &Folded, id: &str) {
    let key = InstanceKey::new(node, id);
    let state = draft.state();
    if !state.catalog.instances.contains_key(&key) {
        return;
    }
    let checks: Vec<CheckKey> =
        state.checks_of(node, id).iter().map(|row| CheckKey::new(node, &row.def.id)).collect();
    for key in checks {
        draft.push(Change::Check(key, None));
    }
    draft.push(Change::Instance(key, None));
}

fn remove_check(draft: &mut Draft<'_>, node: &Folded, id: &str) {
    let key = CheckKey::new(node, id);
    if draft.state().catalog.checks.contains_key(&key) {
        draft.push(Change::Check(key, None));
    }
}

/// The nodes of agents that have been silent turn critical; their instances leave the healthy
/// view. A node whose check somebody took away gets it back.
pub(super) fn silence(draft: &mut Draft<'_>, agents: &[NodeId]) -> Result<Outcome, Refusal> {
    for node in nodes_of(draft, agents) {
        if draft.state().check(&node, PRESENCE_CHECK).is_some() {
            report(draft, &node, PRESENCE_CHECK, Health::Critical, ABSENT);
        } else {
            let def = presence_check();
            put_check(draft, &node, &def, Health::Critical, ABSENT, Source::System)?;
        }
    }
    Ok(Outcome::Done)
}

/// Silent nodes leave the catalog, and edges the members with them. A node that has come back
/// since the leader decided stays: its check is no longer critical.
pub(super) fn reap(draft: &mut Draft<'_>, agents: &[NodeId]) -> Result<Outcome, Refusal> {
    for node in nodes_of(draft, agents) {
        if draft.state().is_silent(&node) {
            remove_node(draft, &node);
        }
    }
    for agent in agents {
        let state = draft.state();
        let Some(member) = state.members.get(agent).cloned() else { continue };
        if member.role.follows() && state.nodes_of_agent(*agent).next().is_none() {
            draft.push(Change::Member(*agent, None));
        }
    }
    Ok(Outcome::Done)
}

fn nodes_of(draft: &mut Draft<'_>, agents: &[NodeId]) -> Vec<Folded> {
    let state = draft.state();
    let mut nodes: Vec<Folded> =
        agents.iter().flat_map(|agent| state.nodes_of_agent(*agent)).cloned().collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

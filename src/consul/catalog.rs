//! `/v1/catalog`: nodes, services and their instances, read and written directly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use serde::Serialize;

use crate::model::{Folded, limits};
use crate::replica::Topic;
use crate::state::{Command, InstanceRow, InstanceView, NodeRow, State};

use super::answer;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call, whole};
use super::entry;
use super::error::Failure;
use super::health::{arrange, chosen, matches_meta, near, respond};
use super::params;
use super::rows::{NodeJson, ServiceJson, ServiceNodeJson};

/// The cluster is one datacenter.
pub fn datacenters(call: &Call<'_>) -> Answer {
    params::consistency(&call.params)?;
    Ok(answer::json(&[&call.front.config.datacenter], call.pretty()))
}

pub async fn nodes(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let topics = || vec![Topic::Nodes];
    let mark = |state: &State| Mark { index: state.nodes_index(), found: true };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let meta = params::node_meta(&call.params);
    let mut rows: Vec<(&Folded, &Arc<NodeRow>)> =
        view.state.nodes().filter(|(_, row)| matches_meta(row, &meta)).collect();
    if let Some(near) = near(&call) {
        rows.sort_by_key(|(name, _)| **name != near);
    }
    let datacenter = &*call.front.config.datacenter;
    let rows: Vec<NodeJson<'_>> =
        rows.into_iter().map(|(_, row)| NodeJson::new(row, datacenter)).collect();
    Ok(respond(&call, &view, &rows))
}

/// Every service's name with the tags of all its instances.
pub async fn services(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let meta = params::node_meta(&call.params);
    let topics = || match meta.is_empty() {
        true => vec![Topic::Services],
        false => vec![Topic::Services, Topic::Nodes],
    };
    let mark = |state: &State| Mark {
        index: match meta.is_empty() {
            true => state.services_index(),
            false => state.services_index().max(state.nodes_index()),
        },
        found: true,
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let services: BTreeMap<Arc<str>, Vec<Arc<str>>> = match meta.is_empty() {
        true => view.state.services().into_iter().collect(),
        false => services_on(&view.state, &meta),
    };
    let shown: BTreeMap<&str, Vec<&str>> = services
        .iter()
        .map(|(name, tags)| (&**name, tags.iter().map(|tag| &**tag).collect()))
        .collect();
    Ok(respond(&call, &view, &shown))
}

/// The services of the nodes that match.
fn services_on(state: &State, meta: &[(&str, &str)]) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut services: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (node, _) in state.nodes().filter(|(_, row)| matches_meta(row, meta)) {
        for row in state.instances_on_node(node) {
            let tags = services.entry(row.def.name.clone()).or_default();
            tags.extend(row.def.tags.iter().cloned());
        }
    }
    services.into_iter().map(|(name, tags)| (name, tags.into_iter().collect())).collect()
}

/// All instances of a service, whatever their health.
pub async fn service(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let name = call.required("Missing service name")?;
    let folded = Folded::new(&name);
    let topics = || vec![Topic::ServiceCatalog(folded.clone())];
    let mark = |state: &State| Mark {
        index: state.service_catalog_index(&name),
        found: state.has_service(&name),
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let mut instances: Vec<InstanceView<'_>> = chosen(&call, &view.state, &name).collect();
    arrange(&call, &mut instances);
    let datacenter = &*call.front.config.datacenter;
    let rows: Vec<ServiceNodeJson<'_>> =
        instances.iter().map(|view| ServiceNodeJson::new(view, datacenter)).collect();
    Ok(respond(&call, &view, &rows))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWith<'a, S> {
    node: Option<NodeJson<'a>>,
    services: S,
}

/// A node with its instances by id; `null` where there is none.
pub async fn node(call: Call<'_>) -> Answer {
    let (view, name) = one_node(&call).await?;
    let Some((folded, row)) = look_up(&view.state, &name) else {
        return Ok(respond(&call, &view, &()));
    };
    let services: BTreeMap<&str, ServiceJson<'_>> =
        view.state.instances_on_node(folded).map(|row| (&*row.def.id, ServiceJson(row))).collect();
    let node = Some(NodeJson::new(row, &call.front.config.datacenter));
    Ok(respond(&call, &view, &NodeWith { node, services }))
}

/// The same with the instances in a list.
pub async fn node_services(call: Call<'_>) -> Answer {
    let (view, name) = one_node(&call).await?;
    let Some((folded, row)) = look_up(&view.state, &name) else {
        return Ok(respond(&call, &view, &NodeWith { node: None, services: () }));
    };
    let instances: Vec<&Arc<InstanceRow>> = view.state.instances_on_node(folded).collect();
    let services: Vec<ServiceJson<'_>> = instances.into_iter().map(|r| ServiceJson(r)).collect();
    let node = Some(NodeJson::new(row, &call.front.config.datacenter));
    Ok(respond(&call, &view, &NodeWith { node, services }))
}

async fn one_node(call: &Call<'_>) -> Result<(View, String), Failure> {
    let options = call.options()?;
    let name = call.required("Missing node name")?.into_owned();
    // Asked by its id, a node is still watched by its name.
    let state = call.front.cluster.snapshot();
    let known = look_up(&state, &name).map(|(folded, _)| folded.clone());
    let folded = known.unwrap_or_else(|| Folded::new(&name));
    let topics = || vec![Topic::NodeCatalog(folded.clone())];
    let mark = |state: &State| Mark {
        index: state.node_catalog_index(folded.as_str()),
        found: state.node(folded.as_str()).is_some(),
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    Ok((view, name))
}

/// By name, by id, or by the beginning of an id that only one node has.
fn look_up<'a>(state: &'a State, asked: &str) -> Option<(&'a Folded, &'a Arc<NodeRow>)> {
    let folded = Folded::new(asked);
    if let Some(found) = state.nodes().find(|(name, _)| **name == folded) {
        return Some(found);
    }
    let mut with_id = state.nodes().filter(|(_, row)| row.def.uuid.starts_with(asked));
    let found = with_id.next()?;
    with_id.next().is_none().then_some(found)
}

/// The answer of an installation whose mesh is empty. Nothing can change it, so a query that waits
/// waits its time out.
pub async fn mesh(call: Call<'_>, missing: &'static str, nothing: &'static str) -> Answer {
    let options = call.options()?;
    call.required(missing)?;
    let mark = |_: &State| Mark { index: 1, found: false };
    let view = blocking::read(call.front, Class::Catalog, &options, Vec::new, mark)
        .await
        .map_err(Failure::with_index)?;
    let mut response = answer::json_bytes(nothing.as_bytes().to_vec());
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

pub async fn register(call: Call<'_>, body: Body) -> Answer {
    let body = whole(body, limits::HTTP_BODY).await?;
    let ops =
        entry::register(&body, &call.front.config.datacenter, &call.front.cluster.snapshot())?;
    params::no_namespace(&call.params)?;
    call.propose(Command::Catalog(ops)).await?;
    Ok(answer::json(&true, call.pretty()))
}

pub async fn deregister(call: Call<'_>, body: Body) -> Answer {
    let body = whole(body, limits::HTTP_BODY).await?;
    let op = entry::deregister(&body, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)?;
    call.propose(Command::Catalog(vec![op])).await?;
    Ok(answer::json(&true, call.pretty()))
}

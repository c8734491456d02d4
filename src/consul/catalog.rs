//! `/v1/catalog`: nodes, services and their instances, read and written directly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use serde::Serialize;

use crate::model::{Folded, limits};
use crate::replica::Topic;
use crate::state::{Command, InstanceRow, InstanceView, NodeRow, State};

use super::answer;
use super::call::{Answer, Call, whole};
use super::entry;
use super::error::Failure;
use super::filter::rows::{Node, Service, ServiceNode};
use super::filter::{Filter, schema};
use super::guard::Seer;
use super::instances::{Wanted, matches_meta, near};
use super::params;
use super::rows::{NodeJson, ServiceJson, ServiceNodeJson};
use super::shared::{self, Content, Mark, Question};

/// The cluster is one datacenter.
pub fn datacenters(call: &Call<'_>) -> Answer {
    params::consistency(&call.params)?;
    Ok(answer::json(&[&call.front.config.datacenter], call.pretty()))
}

pub async fn nodes(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        Ok(Box::new(Nodes {
            filter: Filter::of(&call.params, schema::NODE)?,
            meta: params::node_meta(&call.params),
            near: near(call),
            datacenter: call.front.config.datacenter.clone(),
            pretty: call.pretty(),
        }))
    })
    .await
}

struct Nodes {
    filter: Filter,
    meta: Vec<(String, String)>,
    near: Option<Folded>,
    datacenter: String,
    pretty: bool,
}

impl Question for Nodes {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Nodes]
    }

    fn mark(&self, state: &State) -> Mark {
        Mark { index: state.nodes_index(), found: true }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let datacenter = &*self.datacenter;
        let rows = seer.state.nodes().filter(|(name, _)| seer.node(name.as_str()));
        let kept = |row: &Arc<NodeRow>| {
            matches_meta(row, &self.meta) && self.filter.keeps(&Node { row, datacenter })
        };
        let mut rows: Vec<(&Folded, &Arc<NodeRow>)> = rows.filter(|(_, row)| kept(row)).collect();
        if let Some(near) = &self.near {
            rows.sort_by_key(|(name, _)| *name != near);
        }
        let rows: Vec<NodeJson<'_>> =
            rows.into_iter().map(|(_, row)| NodeJson::new(row, datacenter)).collect();
        Ok(Content::json(&rows, self.pretty))
    }
}

/// Every service's name with the tags of all its instances.
pub async fn services(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        Ok(Box::new(Services {
            filter: Filter::of(&call.params, schema::SERVICE_NODE)?,
            meta: params::node_meta(&call.params),
            datacenter: call.front.config.datacenter.clone(),
            pretty: call.pretty(),
        }))
    })
    .await
}

struct Services {
    filter: Filter,
    meta: Vec<(String, String)>,
    datacenter: String,
    pretty: bool,
}

impl Services {
    /// Whether no instance is looked at, but for its tags.
    fn are_all(&self) -> bool {
        self.meta.is_empty() && !self.filter.is_any()
    }
}

impl Question for Services {
    fn topics(&self) -> Vec<Topic> {
        match self.are_all() {
            true => vec![Topic::Services],
            false => vec![Topic::Instances, Topic::Nodes],
        }
    }

    fn mark(&self, state: &State) -> Mark {
        let index = match self.are_all() {
            true => state.services_index(),
            false => state.instances_index().max(state.nodes_index()),
        };
        Mark { index, found: true }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let datacenter = &*self.datacenter;
        let services: BTreeMap<Arc<str>, Vec<Arc<str>>> = match self.are_all() {
            true => seer.state.services().into_iter().collect(),
            false => services_of(seer.state, |node, instance| {
                matches_meta(node, &self.meta)
                    && self.filter.keeps(&ServiceNode { instance, node, datacenter })
            }),
        };
        let shown: BTreeMap<&str, Vec<&str>> = services
            .iter()
            .filter(|(name, _)| seer.service(name))
            .map(|(name, tags)| (&**name, tags.iter().map(|tag| &**tag).collect()))
            .collect();
        Ok(Content::json(&shown, self.pretty))
    }
}

/// The services of the instances that are wanted, with the tags of those alone.
fn services_of(
    state: &State,
    wanted: impl Fn(&NodeRow, &InstanceRow) -> bool,
) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut services: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (name, node) in state.nodes() {
        for row in state.instances_on_node(name).filter(|row| wanted(node, row)) {
            let tags = services.entry(row.def.name.clone()).or_default();
            tags.extend(row.def.tags.iter().cloned());
        }
    }
    services.into_iter().map(|(name, tags)| (name, tags.into_iter().collect())).collect()
}

/// All instances of a service, whatever their health.
pub async fn service(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        let wanted = Wanted::of(call)?;
        let filter = Filter::of(&call.params, schema::SERVICE_NODE)?;
        Ok(Box::new(OfService { wanted, filter }))
    })
    .await
}

struct OfService {
    wanted: Wanted,
    filter: Filter,
}

impl Question for OfService {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::ServiceCatalog(self.wanted.folded.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        let name = &self.wanted.name;
        Mark { index: state.service_catalog_index(name), found: state.has_service(name) }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let datacenter = &*self.wanted.datacenter;
        let mut instances: Vec<_> = self.wanted.chosen(seer).collect();
        instances.retain(|view| {
            let InstanceView { instance, node, .. } = *view;
            self.filter.keeps(&ServiceNode { instance, node, datacenter })
        });
        Ok(self.wanted.content(instances, |view| ServiceNodeJson::new(&view, datacenter)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWith<'a, S> {
    node: Option<NodeJson<'a>>,
    services: S,
}

/// So much of a node's id at least has to be given to stand for it (Consul's).
const ID_LEAST: usize = 2;

/// A node with its instances by id; `null` where there is none.
pub async fn node(call: &Call<'_>) -> Answer {
    of_node(call, false).await
}

/// The same with the instances in a list.
pub async fn node_services(call: &Call<'_>) -> Answer {
    of_node(call, true).await
}

async fn of_node(call: &Call<'_>, listed: bool) -> Answer {
    let asked = call.name().into_owned();
    // Asked by its id, a node is still watched by its name.
    let known = look_up(&call.front.cluster.snapshot(), &asked).map(|(folded, _)| folded.clone());
    let folded = known.unwrap_or_else(|| Folded::new(&asked));
    shared::of_catalog(call, folded.clone().as_str(), || {
        call.required("Missing node name")?;
        Ok(Box::new(OfNode {
            asked,
            folded,
            listed,
            filter: Filter::of(&call.params, schema::SERVICE)?,
            datacenter: call.front.config.datacenter.clone(),
            pretty: call.pretty(),
        }))
    })
    .await
}

struct OfNode {
    /// A name, an id, or the beginning of one.
    asked: String,
    folded: Folded,
    listed: bool,
    filter: Filter,
    datacenter: String,
    pretty: bool,
}

impl Question for OfNode {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::NodeCatalog(self.folded.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        Mark {
            index: state.node_catalog_index(self.folded.as_str()),
            found: state.node(self.folded.as_str()).is_some(),
        }
    }

    /// Whose id begins so is for all nodes to say.
    fn stamp(&self, state: &State) -> [u64; 2] {
        [state.node_catalog_index(self.folded.as_str()), state.nodes_index()]
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let seen = look_up(seer.state, &self.asked).filter(|(name, _)| seer.node(name.as_str()));
        let Some((folded, row)) = seen else {
            return Ok(match self.listed {
                true => Content::json(&NodeWith { node: None, services: () }, self.pretty),
                false => Content::json(&(), self.pretty),
            });
        };
        let kept = |row: &&Arc<InstanceRow>| seer.instance(row) && self.filter.keeps(&Service(row));
        let instances = seer.state.instances_on_node(folded).filter(kept);
        let node = Some(NodeJson::new(row, &self.datacenter));
        Ok(if self.listed {
            let services: Vec<ServiceJson<'_>> = instances.map(|row| ServiceJson(row)).collect();
            Content::json(&NodeWith { node, services }, self.pretty)
        } else {
            let services: BTreeMap<&str, ServiceJson<'_>> =
                instances.map(|row| (&*row.def.id, ServiceJson(row))).collect();
            Content::json(&NodeWith { node, services }, self.pretty)
        })
    }
}

/// By name, by id, or by the beginning of an id that only one node has.
fn look_up<'a>(state: &'a State, asked: &str) -> Option<(&'a Folded, &'a Arc<NodeRow>)> {
    if let Some(found) = state.node_named(&Folded::new(asked)) {
        return Some(found);
    }
    if asked.len() < ID_LEAST {
        return None;
    }
    let mut with_id = state.nodes().filter(|(_, row)| row.def.uuid.starts_with(asked));
    let found = with_id.next()?;
    with_id.next().is_none().then_some(found)
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

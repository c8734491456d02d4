//! `/v1/health`: instances with their checks, and checks by service, node or state.

use std::sync::Arc;

use crate::model::{Folded, Health};
use crate::replica::Topic;
use crate::state::{CheckRow, State};

use super::call::{Answer, Call};
use super::error::Failure;
use super::filter::rows::{Check, Instance};
use super::filter::{Filter, schema};
use super::guard::Seer;
use super::instances::{Wanted, matches_meta};
use super::params;
use super::rows::{CheckJson, HealthJson, state_filter};
use super::shared::{self, Content, Mark, Question};

/// `health/service/:name`: `tag`, `node-meta`, `passing`, `filter` and `near` narrow or order the
/// rows, and do not change the index.
pub async fn service(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        let wanted = Wanted::of(call)?;
        let passing = passing(call)?;
        let filter = Filter::of(&call.params, schema::HEALTH)?;
        Ok(Box::new(OfService { wanted, passing, filter }))
    })
    .await
}

pub struct OfService {
    pub wanted: Wanted,
    pub passing: bool,
    pub filter: Filter,
}

impl Question for OfService {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Service(self.wanted.folded.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        let name = &self.wanted.name;
        Mark { index: state.service_health_index(name), found: state.has_service(name) }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let datacenter = &*self.wanted.datacenter;
        let mut instances: Vec<_> = self.wanted.chosen(seer).collect();
        instances.retain(|view| !self.passing || view.health() == Health::Passing);
        instances.retain(|view| self.filter.keeps(&Instance { view, datacenter }));
        Ok(self.wanted.content(instances, |view| HealthJson { view, datacenter }))
    }
}

/// Go's spellings of a truth value; the bare parameter is true.
fn passing(call: &Call<'_>) -> Result<bool, Failure> {
    match call.params.get("passing") {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(_) => Err(Failure::bad("Invalid value for ?passing")),
    }
}

/// `health/checks/:service`: the checks of the instances, not those of their nodes.
pub async fn checks(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        let wanted = Wanted::of(call)?;
        Ok(Box::new(OfInstances { wanted, which: Which::of(call)? }))
    })
    .await
}

/// Which checks are wanted.
struct Which {
    filter: Filter,
    meta: Vec<(String, String)>,
    pretty: bool,
}

impl Which {
    fn of(call: &Call<'_>) -> Result<Which, Failure> {
        Ok(Which {
            filter: Filter::of(&call.params, schema::CHECK)?,
            meta: params::node_meta(&call.params),
            pretty: call.pretty(),
        })
    }

    /// Those of many, each with what it is about looked up.
    fn content<'a>(
        &self,
        seer: &'a Seer<'_>,
        checks: impl Iterator<Item = &'a Arc<CheckRow>>,
    ) -> Content {
        let state = seer.state;
        let kept =
            |row: &&Arc<CheckRow>| seer.check(row) && self.filter.keeps(&Check::of(state, row));
        let rows: Vec<CheckJson<'_>> =
            checks.filter(kept).map(|row| CheckJson::of(state, row)).collect();
        Content::json(&rows, self.pretty)
    }
}

struct OfInstances {
    wanted: Wanted,
    which: Which,
}

impl Question for OfInstances {
    fn topics(&self) -> Vec<Topic> {
        let service = self.wanted.folded.clone();
        match self.which.meta.is_empty() {
            true => vec![Topic::ServiceChecks(service)],
            false => vec![Topic::ServiceChecks(service.clone()), Topic::ServiceCatalog(service)],
        }
    }

    fn mark(&self, state: &State) -> Mark {
        let [checks, catalog] = self.stamp(state);
        let index = if self.which.meta.is_empty() { checks } else { checks.max(catalog) };
        Mark { index, found: state.has_service(&self.wanted.name) }
    }

    /// The rows name their nodes.
    fn stamp(&self, state: &State) -> [u64; 2] {
        let name = &self.wanted.name;
        [state.service_checks_index(name), state.service_catalog_index(name)]
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let mut rows: Vec<CheckJson<'_>> = Vec::new();
        for instance in self.wanted.chosen(seer) {
            let (node, def) = (&instance.node.def.name, &instance.instance.def);
            let kept =
                |row: &&Arc<CheckRow>| self.which.filter.keeps(&Check::new(row, node, Some(def)));
            let checks = instance.checks.iter().filter(kept);
            rows.extend(checks.map(|row| CheckJson::new(row, node, Some(def))));
        }
        Ok(Content::json(&rows, self.which.pretty))
    }
}

/// `health/node/:node`: everything that is checked on it.
pub async fn node(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        let name = call.required("Missing node name")?;
        Ok(Box::new(OfNode { node: Folded::new(&name), which: Which::of(call)? }))
    })
    .await
}

struct OfNode {
    node: Folded,
    which: Which,
}

impl Question for OfNode {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Node(self.node.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        Mark {
            index: state.node_index(self.node.as_str()),
            found: state.checks_on_node(&self.node).next().is_some(),
        }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        Ok(self.which.content(seer, seer.state.checks_on_node(&self.node)))
    }
}

/// `health/state/:state`: checks of all nodes that are in it; an unknown word matches none.
pub async fn state(call: &Call<'_>) -> Answer {
    shared::of_catalog(call, "", || {
        call.required("Missing check state")?;
        Ok(Box::new(InState { wanted: state_filter(&call.rest), which: Which::of(call)? }))
    })
    .await
}

struct InState {
    /// None: no check can be in it. Else the state, or any.
    wanted: Option<Option<Health>>,
    which: Which,
}

impl Question for InState {
    fn topics(&self) -> Vec<Topic> {
        match self.which.meta.is_empty() {
            true => vec![Topic::Checks],
            false => vec![Topic::Checks, Topic::Nodes],
        }
    }

    fn mark(&self, state: &State) -> Mark {
        let [checks, nodes] = self.stamp(state);
        let index = if self.which.meta.is_empty() { checks } else { checks.max(nodes) };
        Mark { index, found: true }
    }

    /// The rows name their nodes.
    fn stamp(&self, state: &State) -> [u64; 2] {
        [state.checks_index(), state.nodes_index()]
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let of_node = |row: &CheckRow| {
            let node = seer.state.node(row.node.as_str());
            self.which.meta.is_empty()
                || node.is_some_and(|node| matches_meta(node, &self.which.meta))
        };
        let checks = seer.state.checks().filter(|row| match self.wanted {
            None => false,
            Some(status) => status.is_none_or(|status| row.status == status) && of_node(row),
        });
        Ok(self.which.content(seer, checks))
    }
}

//! `/v1/health`: instances with their checks, and checks by service, node or state.

use std::sync::Arc;

use rand::seq::SliceRandom as _;
use serde::Serialize;

use crate::model::{Folded, Health};
use crate::replica::Topic;
use crate::state::{CheckRow, InstanceView, NodeRow, State};

use super::answer;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call};
use super::error::Failure;
use super::params;
use super::rows::{CheckJson, HealthJson, state_filter};

/// `health/service/:name`: `tag`, `node-meta`, `passing` and `near` narrow or order the rows, and
/// change neither the index nor what wakes.
pub async fn service(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let name = call.required("Missing service name")?;
    let passing = passing(&call)?;
    let folded = Folded::new(&name);
    let topics = || vec![Topic::Service(folded.clone())];
    let mark = |state: &State| Mark {
        index: state.service_health_index(&name),
        found: state.has_service(&name),
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let mut instances: Vec<InstanceView<'_>> = chosen(&call, &view.state, &name)
        .filter(|instance| !passing || instance.health() == Health::Passing)
        .collect();
    arrange(&call, &mut instances);
    let datacenter = &*call.front.config.datacenter;
    let rows: Vec<HealthJson<'_>> =
        instances.into_iter().map(|view| HealthJson { view, datacenter }).collect();
    Ok(respond(&call, &view, &rows))
}

/// The instances of a service that `tag` and `node-meta` leave.
pub fn chosen<'a>(
    call: &'a Call<'_>,
    state: &'a State,
    name: &str,
) -> impl Iterator<Item = InstanceView<'a>> {
    let meta = params::node_meta(&call.params);
    let tags: Vec<&str> = call.params.all("tag").collect();
    state
        .instances(name)
        .filter(move |view| tags.iter().all(|tag| view.instance.def.has_tag(tag)))
        .filter(move |view| matches_meta(view.node, &meta))
}

/// Random, so that clients that take the first spread; with `near` that node's come first.
pub fn arrange(call: &Call<'_>, instances: &mut [InstanceView<'_>]) {
    match near(call) {
        None => instances.shuffle(&mut rand::rng()),
        Some(near) => instances.sort_by_key(|view| view.instance.node != near),
    }
}

/// The node that answers shall be near to.
pub fn near(call: &Call<'_>) -> Option<Folded> {
    match call.params.get("near") {
        None | Some("") => None,
        Some("_agent" | "_ip") => Some(call.front.cluster.name().folded()),
        Some(node) => Some(Folded::new(node)),
    }
}

pub fn matches_meta(node: &NodeRow, meta: &[(&str, &str)]) -> bool {
    meta.iter().all(|(key, value)| node.def.meta.get(*key).is_some_and(|known| known == value))
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
pub async fn checks(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let name = call.required("Missing service name")?;
    let folded = Folded::new(&name);
    let topics = || vec![Topic::ServiceChecks(folded.clone())];
    let mark = |state: &State| Mark {
        index: state.service_checks_index(&name),
        found: state.has_service(&name),
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let meta = params::node_meta(&call.params);
    let mut rows: Vec<CheckJson<'_>> = Vec::new();
    for instance in view.state.instances(&name).filter(|view| matches_meta(view.node, &meta)) {
        let (node, def) = (&instance.node.def.name, &instance.instance.def);
        rows.extend(instance.checks.iter().map(|row| CheckJson::new(row, node, Some(def))));
    }
    Ok(respond(&call, &view, &rows))
}

/// `health/node/:node`: everything that is checked on it.
pub async fn node(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let name = call.required("Missing node name")?;
    let folded = Folded::new(&name);
    let topics = || vec![Topic::Node(folded.clone())];
    let mark = |state: &State| Mark {
        index: state.node_index(&name),
        found: state.checks_on_node(&folded).next().is_some(),
    };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let rows: Vec<CheckJson<'_>> =
        view.state.checks_on_node(&folded).map(|row| CheckJson::of(&view.state, row)).collect();
    Ok(respond(&call, &view, &rows))
}

/// `health/state/:state`: checks of all nodes that are in it; an unknown word matches none.
pub async fn state(call: Call<'_>) -> Answer {
    let options = call.options()?;
    call.required("Missing check state")?;
    let topics = || vec![Topic::Checks];
    let mark = |state: &State| Mark { index: state.checks_index(), found: true };
    let view = blocking::read(call.front, Class::Catalog, &options, topics, mark)
        .await
        .map_err(Failure::with_index)?;
    let wanted = state_filter(&call.rest);
    let meta = params::node_meta(&call.params);
    let of_node = |row: &CheckRow| {
        let node = view.state.node(row.node.as_str());
        meta.is_empty() || node.is_some_and(|node| matches_meta(node, &meta))
    };
    let in_state = |row: &&Arc<CheckRow>| match wanted {
        None => false,
        Some(status) => status.is_none_or(|status| row.status == status) && of_node(row),
    };
    let rows: Vec<CheckJson<'_>> =
        view.state.checks().filter(in_state).map(|row| CheckJson::of(&view.state, row)).collect();
    Ok(respond(&call, &view, &rows))
}

pub fn respond<T: Serialize>(call: &Call<'_>, view: &View, rows: &T) -> axum::response::Response {
    let mut response = answer::json(rows, call.pretty());
    answer::add_freshness(response.headers_mut(), &view.freshness);
    response
}

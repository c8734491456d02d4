//! `/v1/agent`: what runs on this node, registered and reported by its apps.

mod control;
mod health;
mod host;
mod identity;
mod metrics;
mod monitor;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::access::{Level, Need, Resource};
use crate::cluster::Consistency;
use crate::model::{Folded, Health, Source, limits};
use crate::presence::PresenceError;
use crate::replica::Topic;
use crate::state::{CatalogOp, Command, InstanceRow, State};

use super::answer;
use super::blocking;
use super::call::{Answer, Call, whole};
use super::definition;
use super::error::Failure;
use super::filter::rows::{Check, Service};
use super::filter::{Filter, schema};
use super::json;
use super::params::{self, Options};
use super::rows::{AgentServiceJson, CheckJson};

/// What of the agent is asked for, beside what its apps do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    HealthById,
    HealthByName,
    Host,
    Version,
    Metrics,
    Monitor,
    Join,
    Leave,
    ForceLeave,
    Reload,
}

pub async fn answer(call: Call<'_>, part: Part) -> Answer {
    match part {
        Part::HealthById => health::by_id(call).await,
        Part::HealthByName => health::by_name(call).await,
        Part::Host => host::answer(call).await,
        Part::Version => Ok(identity::version(&call)),
        Part::Metrics => metrics::answer(&call),
        Part::Monitor => monitor::answer(&call),
        Part::Join => control::join(call).await,
        Part::Leave => control::leave(call).await,
        Part::ForceLeave => control::force_leave(call).await,
        Part::Reload => control::reload(call).await,
    }
}

pub use identity::itself;

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

/// What apps registered here; rows that came by catalog, and the agent's own, are not the agent's.
pub fn is_registered(source: Source) -> bool {
    matches!(source, Source::Api | Source::Config)
}

pub async fn services(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let filter = Filter::of(&call.params, schema::SERVICE)?;
    let state = call.front.cluster.read(Consistency::Local).await?;
    let node = call.front.cluster.name().folded();
    let datacenter = &*call.front.config.datacenter;
    let seer = call.seer(&state)?;
    let rows: BTreeMap<&str, AgentServiceJson<'_>> = state
        .instances_on_node(&node)
        .filter(|row| is_registered(row.source) && filter.keeps(&Service(row)))
        .filter(|row| seer.service(&row.def.name))
        .map(|row| (&*row.def.id, AgentServiceJson::new(row, datacenter)))
        .collect();
    Ok(answer::json(&rows, call.pretty()))
}

pub async fn checks(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let filter = Filter::bare(&call.params, schema::CHECK)?;
    let state = call.front.cluster.read(Consistency::Local).await?;
    let node = call.front.cluster.name().folded();
    let seer = call.seer(&state)?;
    let rows: BTreeMap<&str, CheckJson<'_>> = state
        .checks_on_node(&node)
        .filter(|row| is_registered(row.source) && filter.keeps(&Check::of(&state, row)))
        .filter(|row| seer.check(row))
        .map(|row| {
            let newest = call.front.presence.newest_output(&row.def.id);
            (&*row.def.id, CheckJson::own(&state, row, newest))
        })
        .collect();
    Ok(answer::json(&rows, call.pretty()))
}

/// One instance; with `hash` it waits until its definition is another one.
pub async fn service(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let options = Options::of_agent(&call.params)?;
    let id = call.name().into_owned();
    let node = call.front.cluster.name().folded();
    let datacenter = call.front.config.datacenter.clone();
    let mut state = call.front.cluster.read(Consistency::Local).await?;
    if let Some(asked) = call.params.get("hash").filter(|hash| !hash.is_empty()) {
        let changed = |state: &State| {
            let row = own(state, &node, &id);
            row.is_none_or(|row| content_hash(row, &datacenter) != asked)
        };
        let topics = || vec![Topic::NodeCatalog(node.clone())];
        if let Some(later) = blocking::until(call.front, &options, topics, changed).await? {
            state = later;
        }
    }
    let Some(row) = own(&state, &node, &id) else {
        let text = format!("unknown service ID: {id}");
        return Err(Failure::new(StatusCode::NOT_FOUND, text));
    };
    call.may(&state, Need::Rule(Resource::Service, &row.def.name, Level::Read))?;
    let hash = content_hash(row, &datacenter);
    let shown = AgentServiceJson::with_hash(row, &datacenter, &hash);
    let mut response = answer::json(&shown, call.pretty());
    if let Ok(value) = HeaderValue::from_str(&hash) {
        response.headers_mut().insert(CONTENT_HASH, value);
    }
    Ok(response)
}

pub(super) fn own<'a>(state: &'a State, node: &Folded, id: &str) -> Option<&'a Arc<InstanceRow>> {
    state.instance(node, id).filter(|row| is_registered(row.source))
}

/// The same for the same definition, on this release at least.
fn content_hash(row: &InstanceRow, datacenter: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(&json::to_vec(&AgentServiceJson::new(row, datacenter), false));
    format!("{:016x}", hasher.finish())
}

pub async fn register(call: Call<'_>, body: Body) -> Answer {
    params::no_namespace(&call.params)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let (def, checks) = definition::service(&body)?;
    let replace = call.params.get("replace-existing-checks");
    let replace = replace.is_some_and(|value| matches!(value, "" | "true"));
    let (node, source) = (call.node(), Source::Api);
    call.may_change(&[CatalogOp::PutInstance { node, def: def.clone(), source }])?;
    done(call.front.presence.register(def, checks, replace).await)
}

/// Works from any agent: an id that is not here but on exactly one other node is taken out there.
pub async fn deregister(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let id = call.name();
    if id.is_empty() {
        return Err(Failure::internal("ServiceID missing"));
    }
    call.may_remove(&id)?;
    match call.front.presence.deregister(&id).await {
        Err(PresenceError::UnknownService(_)) => {}
        outcome => return done(outcome),
    }
    let state = call.front.cluster.snapshot();
    let unknown = || done(Err(PresenceError::UnknownService(id.to_string())));
    match only(state.nodes().filter(|(node, _)| state.instance(node, &id).is_some())) {
        None => unknown(),
        Some((node, _)) => {
            let (node, id) = (node.clone(), Arc::from(&*id));
            let op = CatalogOp::RemoveInstance { node, id };
            call.propose(Command::Catalog(vec![op])).await?;
            Ok(answer::empty(StatusCode::OK))
        }
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

pub async fn register_check(call: Call<'_>, body: Body) -> Answer {
    params::no_namespace(&call.params)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let def = definition::check(&body)?;
    call.may_check(&def)?;
    match call.front.presence.register_check(def).await {
        Err(PresenceError::UnknownService(id)) => {
            let text = format!("ServiceID {id:?} does not exist");
            Err(Failure::new(StatusCode::NOT_FOUND, text))
        }
        outcome => done(outcome),
    }
}

pub async fn deregister_check(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let id = call.name();
    if id.is_empty() {
        return Err(Failure::internal("CheckID missing"));
    }
    call.may_report(&id)?;
    done(call.front.presence.deregister_check(&id).await)
}

/// `check/pass`, `warn` and `fail`: the note becomes the output.
pub async fn report(call: Call<'_>, status: Health) -> Answer {
    let note = call.params.get("note").unwrap_or_default().to_owned();
    tell(&call, status, note).await
}

pub async fn update(call: Call<'_>, body: Body) -> Answer {
    let body = whole(body, limits::HTTP_BODY).await?;
    let (status, output) = definition::update(&body)?;
    tell(&call, status, output).await
}

async fn tell(call: &Call<'_>, status: Health, output: String) -> Answer {
    params::no_namespace(&call.params)?;
    let id = call.name();
    call.may_report(&id)?;
    done(call.front.presence.report(&id, status, output).await)
}

pub(super) fn done(outcome: Result<(), PresenceError>) -> Answer {
    outcome?;
    Ok(answer::empty(StatusCode::OK))
}

//! `/v1/event`: events fired to all agents, and the newest of those that are for this one.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt as _;
use serde::Serialize;
use uuid::{Builder, Uuid};

use crate::access::Resource;
use crate::cluster::Consistency;
use crate::lifecycle::chance::Dice;
use crate::model::{Folded, limits};
use crate::replica::Topic;
use crate::state::{Command, EventDef, Outcome, Pattern, Refusal, State};

use super::agent::is_registered;
use super::answer;
use super::blocking;
use super::call::{Answer, Call, whole};
use super::error::Failure;
use super::params;
use super::patience;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    payload: Option<String>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    version: u8,
    /// 0 in the answer to who fires it.
    #[serde(rename = "LTime")]
    number: u64,
}

impl<'a> EventJson<'a> {
    fn new(event: &'a EventDef, number: u64) -> EventJson<'a> {
        EventJson {
            id: Uuid::from_u128(event.id).to_string(),
            name: &event.name,
            payload: (!event.payload.is_empty()).then(|| STANDARD.encode(&event.payload)),
            node_filter: &event.node,
            service_filter: &event.service,
            tag_filter: &event.tag,
            version: 1,
            number,
        }
    }
}

pub async fn fire(call: Call<'_>, body: Body) -> Answer {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)?;
    let name = call.required("Missing name")?.into_owned();
    let payload = whole(body, limits::HTTP_BODY).await?;
    let filter = |name: &str| call.params.get(name).unwrap_or_default().to_owned();
    let event = EventDef {
        id: Builder::from_random_bytes(Dice.random()).into_uuid().as_u128(),
        name,
        payload,
        node: filter("node"),
        service: filter("service"),
        tag: filter("tag"),
    };
    check(&event)?;
    let fired = Command::EventFire(event.clone());
    match patience::propose(&call.front.cluster, &call.asker, fired).await? {
        Outcome::Refused(Refusal::EventTooLarge { max, .. }) => Err(Failure::internal(format!(
            "1 error occurred:\n\t* error broadcasting event to segment \"\": user event exceeds \
             configured limit of {max} bytes before encoding\n\n"
        ))),
        Outcome::Refused(refusal) => Err(refusal.into()),
        _ => Ok(answer::json(&EventJson::new(&event, 0), call.pretty())),
    }
}

fn check(event: &EventDef) -> Result<(), Failure> {
    if event.service.is_empty() && !event.tag.is_empty() {
        return Err(Failure::internal("Cannot provide tag filter without service filter"));
    }
    for (what, pattern) in [("node", &event.node), ("service", &event.service), ("tag", &event.tag)]
    {
        Pattern::new(pattern)
            .map_err(|error| Failure::internal(format!("Invalid {what} filter: {error}")))?;
    }
    Ok(())
}

/// Those that are for this agent, oldest first. Their index is no counter: it is another one
/// whenever the newest of them is another one.
pub async fn list(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let name = call.params.get("name").filter(|name| !name.is_empty());
    let node = call.front.cluster.name().folded();
    let mut state = call.front.cluster.read(Consistency::Local).await?;
    if options.index != 0 {
        let changed = |state: &State| index(&listed(state, &node, name)) != options.index;
        let topics = || vec![Topic::Events];
        if let Some(later) = blocking::until(call.front, &options, topics, changed).await? {
            state = later;
        }
    }
    let mut events = listed(&state, &node, name);
    let index = index(&events);
    let seer = call.seer(&state)?;
    events.retain(|(_, event)| seer.named(Resource::Event, &event.name));
    let rows: Vec<EventJson<'_>> =
        events.iter().map(|(number, event)| EventJson::new(event, *number)).collect();
    let mut response = answer::json(&rows, call.pretty());
    answer::add_index(response.headers_mut(), index);
    Ok(response)
}

fn listed<'a>(state: &'a State, node: &Folded, name: Option<&str>) -> Vec<(u64, &'a EventDef)> {
    state
        .fired()
        .filter(|(_, event)| name.is_none_or(|name| event.name == name))
        .filter(|(_, event)| is_for(state, node, event))
        .map(|(number, event)| (number, &**event))
        .collect()
}

/// Both halves of the newest one's id together; never 0, as it is shown.
fn index(events: &[(u64, &EventDef)]) -> u64 {
    let newest = events.last().map_or(0, |(_, event)| event.id);
    ((newest >> 64) as u64 ^ newest as u64).max(1)
}

fn is_for(state: &State, node: &Folded, event: &EventDef) -> bool {
    let matches = |pattern: &str, text: &str| {
        pattern.is_empty() || Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text))
    };
    if !matches(&event.node, node.as_str()) {
        return false;
    }
    if event.service.is_empty() {
        return true;
    }
    let mut services = state.instances_on_node(node).filter(|row| is_registered(row.source));
    services.any(|row| {
        matches(&event.service, &row.def.name)
            && (event.tag.is_empty() || row.def.tags.iter().any(|tag| matches(&event.tag, tag)))
    })
}

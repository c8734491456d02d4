//! Maintenance mode of an instance or of the whole node: a critical check that nothing runs.

use http::StatusCode;

use crate::model::{CheckDef, CheckKind, Folded};
use crate::presence::PresenceError;

use super::agent::{done, own};
use super::answer;
use super::call::{Answer, Call};
use super::error::Failure;
use super::params;

const NODE: &str = "_node_maintenance";

/// `agent/service/maintenance/:id`.
pub async fn of_service(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let enable = enable(&call)?;
    let id = call.name();
    if id.is_empty() {
        return Err(Failure::bad("Missing service ID"));
    }
    let node = call.front.cluster.name().folded();
    if own(&call.front.cluster.snapshot(), &node, &id).is_none() {
        return done(Err(PresenceError::UnknownService(id.to_string())));
    }
    let mut def = check(&format!("_service_maintenance:{id}"), "Service", &call);
    def.service_id = Some((&*id).into());
    set(&call, &node, enable, def).await
}

/// `agent/maintenance`.
pub async fn of_node(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let enable = enable(&call)?;
    let node = call.front.cluster.name().folded();
    let def = check(NODE, "Node", &call);
    set(&call, &node, enable, def).await
}

fn enable(call: &Call<'_>) -> Result<bool, Failure> {
    match call.params.get("enable") {
        None => Err(Failure::bad("Missing value for enable")),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Failure::bad(format!("Invalid value for enable: {other:?}"))),
    }
}

fn check(id: &str, subject: &str, call: &Call<'_>) -> CheckDef {
    let name = format!("{subject} Maintenance Mode");
    let mut def = CheckDef::new(id, &name, CheckKind::Maintenance);
    def.notes = match call.params.get("reason").filter(|reason| !reason.is_empty()) {
        Some(reason) => reason.to_owned(),
        None => format!(
            "Maintenance mode is enabled for this {}, but no reason was provided. This is a \
             default message.",
            subject.to_lowercase()
        ),
    };
    def
}

/// Enabling again keeps the first reason; disabling what is not enabled is no error.
async fn set(call: &Call<'_>, node: &Folded, enable: bool, def: CheckDef) -> Answer {
    call.may_check(&def)?;
    let presence = &call.front.presence;
    let enabled = call.front.cluster.snapshot().check(node, &def.id).is_some();
    match (enable, enabled) {
        (true, false) => done(presence.register_check(def).await),
        (false, true) => done(presence.deregister_check(&def.id).await),
        _ => Ok(answer::empty(StatusCode::OK)),
    }
}

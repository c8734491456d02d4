//! `/v1/session`: sessions made, shown, renewed and destroyed.

mod body;
mod json;

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use rand::RngExt as _;
use serde::Serialize;
use uuid::{Builder, Uuid};

use crate::cluster::{Alive, Beat};
use crate::lifecycle::chance::Dice;
use crate::model::{Folded, SessionId, limits};
use crate::replica::Topic;
use crate::state::{Command, Outcome, Refusal, SessionRow, State};

use super::answer;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call, whole};
use super::error::Failure;
use super::params;
use super::patience;
use json::SessionJson;

/// How often a new id is drawn while the one before is taken.
const DRAWS: usize = 8;

/// The session of that id, or what Consul says of what cannot be one.
pub fn id(text: &str) -> Result<SessionId, &'static str> {
    if text.len() != 36 {
        return Err("failed session lookup: index error: UUID must be 36 characters");
    }
    let id =
        Uuid::try_parse(text).map_err(|_| "failed session lookup: index error: Invalid UUID")?;
    Ok(SessionId(id.as_u128()))
}

pub async fn create(call: Call<'_>, body: Body) -> Answer {
    check_write(&call)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let name = call.front.cluster.name();
    let mut def = body::decode(&body, name.as_str(), call.front.config.session_ttl_min)?;
    for _ in 0..DRAWS {
        def.id = SessionId(Builder::from_random_bytes(Dice.random()).into_uuid().as_u128());
        let command = Command::SessionCreate(def.clone());
        return match patience::propose(&call.front.cluster, &call.asker, command).await? {
            Outcome::Refused(Refusal::SessionExists(_)) => continue,
            Outcome::Refused(Refusal::NoNode(_)) => {
                Err(Failure::internal("Missing node registration"))
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Ok(answer::json(&Created { id: def.id.to_string() }, call.pretty())),
        };
    }
    Err(Failure::internal("no id was free"))
}

#[derive(Serialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// It answers the same for one that is not there.
pub async fn destroy(call: Call<'_>) -> Answer {
    check_write(&call)?;
    let id = named(&call)?;
    call.propose(Command::SessionDestroy(id)).await?;
    Ok(answer::json(&true, call.pretty()))
}

/// Its time begins anew.
pub async fn renew(call: Call<'_>) -> Answer {
    check_write(&call)?;
    let (id, cluster) = (named(&call)?, &call.front.cluster);
    let state = patience::read(cluster).await?;
    state.permits_session(&call.rights(&state)?, id)?;
    let gone = || {
        let text = format!("Session id '{}' not found", call.name());
        Failure::new(StatusCode::NOT_FOUND, text)
    };
    let session = state.session(id).ok_or_else(gone)?;
    if session.def.ttl.is_some() && cluster.keep_alive(Beat::Session(id)).await? == Alive::Gone {
        return Err(gone());
    }
    Ok(answer::json(&[SessionJson::new(session)], call.pretty()))
}

pub async fn info(call: Call<'_>) -> Answer {
    let options = call.options().map_err(Failure::with_index)?;
    call.required(MISSING)?;
    let id = id(&call.name()).map_err(|text| Failure::internal(text).with_index())?;
    let view = read(&call, &options).await?;
    shown(&call, &view, view.state.session(id).into_iter())
}

pub async fn node(call: Call<'_>) -> Answer {
    let options = call.options().map_err(Failure::with_index)?;
    let node = Folded::new(&call.required("Missing node name")?);
    let view = read(&call, &options).await?;
    shown(&call, &view, view.state.sessions_on(&node))
}

pub async fn list(call: Call<'_>) -> Answer {
    let options = call.options().map_err(Failure::with_index)?;
    let view = read(&call, &options).await?;
    shown(&call, &view, view.state.sessions())
}

const MISSING: &str = "Missing session";

fn check_write(call: &Call<'_>) -> Result<(), Failure> {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)
}

fn named(call: &Call<'_>) -> Result<SessionId, Failure> {
    id(&call.required(MISSING)?).map_err(Failure::internal)
}

/// All sessions have one index, as in Consul: who waits for one that is not there is told of any.
async fn read(call: &Call<'_>, options: &params::Options) -> Result<View, Failure> {
    let mark = |state: &State| Mark { index: state.sessions_index(), found: true };
    blocking::read(call.front, Class::Keys, options, || vec![Topic::Sessions], mark).await
}

fn shown<'a>(
    call: &Call<'_>,
    view: &View,
    sessions: impl Iterator<Item = &'a Arc<SessionRow>>,
) -> Answer {
    let seer = call.seer(&view.state)?;
    let sessions = sessions.filter(|row| seer.session(row));
    let rows: Vec<SessionJson<'_>> = sessions.map(|row| SessionJson::new(row)).collect();
    let mut response = answer::json(&rows, call.pretty());
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

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
use super::blocking::Class;
use super::call::{Answer, Call, whole};
use super::error::Failure;
use super::guard::Seer;
use super::params::{self, Options};
use super::patience;
use super::shared::{self, Content, Mark, Question};
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
    read(&call, &options, Which::One(id)).await
}

pub async fn node(call: Call<'_>) -> Answer {
    let options = call.options().map_err(Failure::with_index)?;
    let node = Folded::new(&call.required("Missing node name")?);
    read(&call, &options, Which::On(node)).await
}

pub async fn list(call: Call<'_>) -> Answer {
    let options = call.options().map_err(Failure::with_index)?;
    read(&call, &options, Which::All).await
}

const MISSING: &str = "Missing session";

fn check_write(call: &Call<'_>) -> Result<(), Failure> {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)
}

fn named(call: &Call<'_>) -> Result<SessionId, Failure> {
    id(&call.required(MISSING)?).map_err(Failure::internal)
}

async fn read(call: &Call<'_>, options: &Options, which: Which) -> Answer {
    let question = Sessions { which, pretty: call.pretty() };
    let make = || -> Result<Box<dyn Question>, Failure> { Ok(Box::new(question)) };
    let told = shared::read(call, Class::Keys, options, call.key(""), make).await?;
    let Some(mut response) = answer::content(&told.evaluated.content) else {
        return Err(Failure::internal("an answer of sessions without rows"));
    };
    answer::add_freshness(response.headers_mut(), &told.freshness);
    Ok(response)
}

enum Which {
    All,
    On(Folded),
    One(SessionId),
}

struct Sessions {
    which: Which,
    pretty: bool,
}

impl Sessions {
    fn shown<'a>(
        &self,
        seer: &Seer<'_>,
        rows: impl Iterator<Item = &'a Arc<SessionRow>>,
    ) -> Content {
        let seen = rows.filter(|row| seer.session(row));
        let rows: Vec<SessionJson<'_>> = seen.map(|row| SessionJson::new(row)).collect();
        Content::json(&rows, self.pretty)
    }
}

impl Question for Sessions {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Sessions]
    }

    /// All sessions have one index, as in Consul.
    fn mark(&self, state: &State) -> Mark {
        Mark { index: state.sessions_index(), found: true }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let state = seer.state;
        Ok(match &self.which {
            Which::All => self.shown(seer, state.sessions()),
            Which::On(node) => self.shown(seer, state.sessions_on(node)),
            Which::One(id) => self.shown(seer, state.session(*id).into_iter()),
        })
    }
}

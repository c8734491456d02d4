//! `/v1/query`: prepared queries made, shown, changed, executed and explained.

mod body;
mod json;

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use serde::Serialize;
use uuid::Builder;

use crate::access::{Level, Need, Resource};
use crate::lifecycle::chance::Dice;
use crate::model::{Folded, QueryId, limits};
use crate::replica::Topic;
use crate::state::{Command, Outcome, QueryRefusal, QueryRow, Refusal, State};

use super::answer::{self, Freshness};
use super::blocking::respond;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call, whole};
use super::error::Failure;
use super::guard::Seer;
use super::params;
use super::rows::HealthJson;
use super::shared::{self, Content, Question};
use json::{Dns, Executed, Explained, Inline, QueryJson};

/// How often a new id is drawn while the one before is taken.
const DRAWS: usize = 8;

/// What of a query's path is about what it comes to, and is only read.
pub const EXECUTE: &str = "/execute";
pub const EXPLAIN: &str = "/explain";

const BY_ID: &str = "prepared query templates can only be resolved up by name, not by ID";
const NO_UUID: &str = "failed prepared query lookup: index error: UUID must be 36 characters";

#[derive(Serialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// `/v1/query`: all of them, or a new one.
pub async fn all(call: Call<'_>, body: Body) -> Answer {
    if *call.method == Method::POST {
        return create(call, body).await;
    }
    shown(&call, None).await
}

async fn create(call: Call<'_>, body: Body) -> Answer {
    check_write(&call)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let read = body::read(&body)?;
    if !read.id.is_empty() {
        return Err(Failure::internal("ID must be empty when creating a new prepared query"));
    }
    let mut def = read.check()?;
    for _ in 0..DRAWS {
        def.id = QueryId(Builder::from_random_bytes(Dice.random()).into_uuid().as_u128());
        let command = Command::QueryPut { def: def.clone(), new: true };
        match call.front.cluster.propose_for(&call.asker, command).await? {
            Outcome::Refused(Refusal::Query(QueryRefusal::Exists(_))) => {}
            Outcome::Refused(refusal) => return Err(refusal.into()),
            _ => return Ok(answer::json(&Created { id: def.id.to_string() }, call.pretty())),
        }
    }
    Err(Failure::internal("no id was free"))
}

/// `/v1/query/:id`, and `execute` and `explain` behind it.
pub async fn one(call: Call<'_>, body: Body) -> Answer {
    let name = call.name().into_owned();
    if *call.method == Method::GET {
        if let Some(asked) = name.strip_suffix(EXECUTE) {
            return execute(&call, asked).await;
        }
        if let Some(asked) = name.strip_suffix(EXPLAIN) {
            return explain(&call, asked).await;
        }
    }
    match *call.method {
        Method::PUT => replace(&call, &name, body).await,
        Method::DELETE => delete(&call, &name).await,
        _ => show(&call, &name).await,
    }
}

async fn show(call: &Call<'_>, name: &str) -> Answer {
    let id = QueryId::parse(name).ok_or_else(|| Failure::internal(NO_UUID).with_index())?;
    shown(call, Some(id)).await
}

/// One query, or all of them.
async fn shown(call: &Call<'_>, one: Option<QueryId>) -> Answer {
    let make = || -> Result<Box<dyn Question>, Failure> {
        Ok(Box::new(Queries { one, pretty: call.pretty() }))
    };
    shared::of_catalog_or(call, "", not_found, make).await
}

struct Queries {
    one: Option<QueryId>,
    pretty: bool,
}

impl Question for Queries {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Queries]
    }

    /// All queries have one index, as in Consul.
    fn mark(&self, state: &State) -> Mark {
        Mark { index: state.queries_index(), found: true }
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let (state, all) = (seer.state, seer.manages());
        if let Some(id) = self.one {
            return Ok(match state.query(id) {
                Some(row) => {
                    may_read(seer, row)?;
                    Content::json(&[QueryJson::new(row, all)], self.pretty)
                }
                None => Content::Nothing { omitted: 0 },
            });
        }
        // Those without a name are known by ids alone, which are not told to everybody.
        let shown = |row: &&Arc<QueryRow>| {
            all || is_named(row) && seer.named(Resource::Query, &row.def.name)
        };
        let rows = state.queries().filter(shown).map(|row| QueryJson::new(row, all));
        Ok(Content::json(&rows.collect::<Vec<_>>(), self.pretty))
    }
}

async fn replace(call: &Call<'_>, name: &str, body: Body) -> Answer {
    check_write(call)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let read = body::read(&body)?;
    // Whose it is comes first, whatever the rest of the body means.
    let id = known(name)?;
    let mut def = read.check()?;
    def.id = id;
    call.propose(Command::QueryPut { def, new: false }).await?;
    Ok(answer::empty(StatusCode::OK))
}

async fn delete(call: &Call<'_>, name: &str) -> Answer {
    check_write(call)?;
    call.propose(Command::QueryDelete(known(name)?)).await?;
    Ok(answer::empty(StatusCode::OK))
}

fn known(name: &str) -> Result<QueryId, Failure> {
    let lookup = || Failure::internal(format!("Prepared Query lookup failed: {NO_UUID}"));
    QueryId::parse(name).ok_or_else(lookup)
}

fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "Query not found")
}

fn is_named(row: &QueryRow) -> bool {
    !row.def.name.is_empty() || row.def.template.is_set
}

/// To know the id of one without a name is enough.
fn may_read(seer: &Seer<'_>, row: &QueryRow) -> Result<(), Failure> {
    match is_named(row) && !seer.manages() {
        true => seer.may(Need::Rule(Resource::Query, &row.def.name, Level::Read)),
        false => Ok(()),
    }
}

fn check_write(call: &Call<'_>) -> Result<(), Failure> {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)
}

/// At once, whatever index was asked for: nobody can wait for a query to come to something else.
async fn look(call: &Call<'_>) -> Result<View, Failure> {
    let mut options = call.options().map_err(Failure::with_index)?;
    options.index = 0;
    let mark = |_: &State| Mark { index: 1, found: true };
    blocking::read(call.front, Class::Catalog, &options, Vec::new, mark)
        .await
        .map_err(Failure::with_index)
}

fn inline(freshness: &Freshness) -> Inline {
    Inline {
        index: 0,
        last_contact: u64::try_from(freshness.last_contact.as_nanos()).unwrap_or(u64::MAX),
        known_leader: freshness.known_leader,
        consistency_level: freshness.effective.unwrap_or("leader"),
        not_modified: false,
    }
}

fn found(state: &State, asked: &str) -> Result<Arc<QueryRow>, Failure> {
    state.find_query(asked).ok_or_else(|| match QueryId::parse(asked) {
        Some(id) if state.query(id).is_some() => Failure::internal(BY_ID).with_index(),
        _ => not_found(),
    })
}

async fn explain(call: &Call<'_>, asked: &str) -> Answer {
    let view = look(call).await?;
    let row = found(&view.state, asked)?;
    let seer = call.seer(&view.state)?;
    may_read(&seer, &row)?;
    let query = QueryJson::new(&row, seer.manages());
    let explained = Explained { query, inline: inline(&view.freshness) };
    Ok(respond(call, &view, &explained))
}

async fn execute(call: &Call<'_>, asked: &str) -> Answer {
    let (most, meshed) = (limit(call)?, is_meshed(call)?);
    let view = look(call).await?;
    let row = found(&view.state, asked)?;
    // To ask for what it finds takes nothing: of that as much is shown as may be seen.
    let seer = call.seer(&view.state)?;
    let target = &row.def.target;
    let mut instances = match meshed {
        true => Vec::new(),
        false => view.state.execute(target),
    };
    instances.retain(|view| seer.instance(view.instance));
    instances.shuffle(&mut rand::rng());
    if let Some(near) = near(call, &target.near) {
        instances.sort_by_key(|view| view.instance.node != near);
    }
    instances.truncate(most);
    let datacenter = &*call.front.config.datacenter;
    let executed = Executed {
        service: &target.service,
        nodes: instances.into_iter().map(|view| HealthJson { view, datacenter }).collect(),
        dns: Dns { ttl: &row.def.ttl_text },
        datacenter,
        // There is no other datacenter to fail over to: those that a query names are passed over.
        failovers: 0,
        inline: inline(&view.freshness),
    };
    Ok(respond(call, &view, &executed))
}

/// Whether those are wanted that a mesh reaches, of which there are none.
fn is_meshed(call: &Call<'_>) -> Result<bool, Failure> {
    match call.params.get("connect").filter(|text| !text.is_empty()) {
        None => Ok(false),
        Some(text) => params::truth(text)
            .map_err(|why| Failure::internal(format!("Error parsing 'connect' value: {why}"))),
    }
}

/// What the caller says comes before what the query says.
fn near(call: &Call<'_>, wanted: &str) -> Option<Folded> {
    match call.params.get("near").filter(|near| !near.is_empty()).unwrap_or(wanted) {
        "" => None,
        "_agent" | "_ip" => Some(call.front.cluster.name().folded()),
        node => Some(Folded::new(node)),
    }
}

/// No limit where it is not above zero.
fn limit(call: &Call<'_>) -> Result<usize, Failure> {
    let Some(text) = call.params.get("limit").filter(|text| !text.is_empty()) else {
        return Ok(usize::MAX);
    };
    let number: i64 = text.parse().map_err(|_| {
        Failure::internal(format!("Bad limit: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })?;
    Ok(usize::try_from(number).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX))
}

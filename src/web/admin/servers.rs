//! Servers: listed, how many are wanted, who leads, who leaves; any agent put out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};

use crate::cluster::{Consistency, Operation};
use crate::model::{NodeId, Role, limits};
use crate::state::{Command, Settings};
use crate::web::{Parts, status};

use super::{Denial, parse, respond};

#[derive(Serialize)]
struct Servers {
    #[serde(flatten)]
    wanted: Agreed,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    id: u64,
    name: String,
    address: std::net::SocketAddr,
    /// `leader`, `voter` or `standby`.
    raft: Option<&'static str>,
    version: String,
}

pub(super) async fn list(State(parts): State<Arc<Parts>>) -> Response<Body> {
    respond(&parts, listed(&parts))
}

fn listed(parts: &Parts) -> Result<Servers, Denial> {
    parts.cluster.is_for_operators()?;
    let (state, standing) = (parts.cluster.snapshot(), parts.cluster.standing());
    let wanted = Agreed::from(&state.identity().settings);
    let servers = state.members().filter(|member| member.role == Role::Server);
    let servers = servers.map(|member| Server {
        id: member.id.0,
        name: member.name.to_string(),
        address: member.peer_addr,
        raft: status::raft_role(&standing, member.id, member.role),
        version: member.version.clone(),
    });
    Ok(Servers { wanted, servers: servers.collect() })
}

/// Every field may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct To {
    /// A server's name or id.
    id: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Leads {
    leader: Option<u64>,
}

pub(super) async fn transfer_leader(
    State(parts): State<Arc<Parts>>,
    body: Bytes,
) -> Response<Body> {
    let done = async {
        let to = match parse::<To>(&body)?.id {
            None => None,
            Some(serde_json::Value::String(name)) => Some(server(&parts, &name)?),
            Some(other) => Some(server(&parts, &other.to_string())?),
        };
        parts.cluster.operate(Operation::TransferLeader(to)).await?;
        let leader = to.or_else(|| parts.cluster.standing().leader);
        Ok(Leads { leader: leader.map(|id| id.0) })
    };
    respond(&parts, done.await)
}

/// The server of that name or id.
fn server(parts: &Parts, text: &str) -> Result<NodeId, Denial> {
    parts.cluster.is_for_operators()?;
    let member = parts.cluster.agent(text)?;
    match member.role {
        Role::Server => Ok(member.id),
        _ => Err(Denial::Conflict(format!("{text} is no server"))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    voters: Option<u32>,
    standbys: Option<u32>,
    /// Bytes.
    quota: Option<u64>,
    /// Seconds.
    history: Option<u64>,
}

#[derive(Serialize)]
struct Agreed {
    voters: u32,
    standbys: u32,
    quota: u64,
    history: u64,
}

impl From<&Settings> for Agreed {
    fn from(settings: &Settings) -> Agreed {
        let Settings { voters, standbys, quota, history, .. } = *settings;
        Agreed { voters, standbys, quota, history: history.as_secs() }
    }
}

pub(super) async fn set(State(parts): State<Arc<Parts>>, body: Bytes) -> Response<Body> {
    let done = async { change(&parts, &parse(&body)?).await };
    respond(&parts, done.await)
}

async fn change(parts: &Parts, wanted: &Wanted) -> Result<Agreed, Denial> {
    parts.cluster.is_for_operators()?;
    let read = parts.cluster.read(Consistency::Linearizable).await;
    let state = read.map_err(|error| Denial::Failed(error.to_string()))?;
    let mut settings = state.identity().settings.clone();
    settings.voters = wanted.voters.unwrap_or(settings.voters);
    settings.standbys = wanted.standbys.unwrap_or(settings.standbys);
    settings.quota = wanted.quota.unwrap_or(settings.quota);
    settings.history = wanted.history.map_or(settings.history, Duration::from_secs);
    let agreed = Agreed::from(&settings);
    let (voters, standbys) = (settings.voters, settings.standbys);
    if voters == 0 {
        return Err(Denial::Request("voters: a cluster needs one that votes".to_owned()));
    }
    if voters as usize + standbys as usize > limits::SERVERS {
        let most = limits::SERVERS;
        return Err(Denial::Request(format!("voters and standbys: at most {most} servers")));
    }
    let (least, most) = limits::QUOTA_RANGE;
    if !(least..=most).contains(&settings.quota) {
        return Err(Denial::Request(format!("quota: from {least} to {most} bytes are allowed")));
    }
    let (least, most) = limits::HISTORY_AGE_RANGE;
    if !(least..=most).contains(&settings.history) {
        let (least, most) = (least.as_secs(), most.as_secs());
        return Err(Denial::Request(format!("history: from {least} to {most} s are allowed")));
    }
    parts.cluster.decide(Command::Settings(settings)).await?;
    Ok(agreed)
}

#[derive(Serialize)]
struct Removed {
    removed: u64,
}

pub(super) async fn remove(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
) -> Response<Body> {
    let done = async {
        parts.cluster.is_for_operators()?;
        // One that Raft alone still knows has no name any more.
        let id = match id.parse() {
            Ok(number) => NodeId(number),
            Err(_) => server(&parts, &id)?,
        };
        parts.cluster.operate(Operation::RemoveServer(id)).await?;
        tracing::info!(%id, "a server was removed");
        Ok(Removed { removed: id.0 })
    };
    respond(&parts, done.await)
}

#[derive(Serialize)]
struct Revoked {
    revoked: u64,
}

pub(super) async fn revoke(
    State(parts): State<Arc<Parts>>,
    Path(node): Path<String>,
) -> Response<Body> {
    let done = async {
        let id = parts.cluster.revoke(&node).await?;
        tracing::info!(%id, node, "an agent was put out of the cluster");
        Ok(Revoked { revoked: id.0 })
    };
    respond(&parts, done.await)
}

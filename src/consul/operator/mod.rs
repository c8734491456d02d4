//! `/v1/operator`: who votes and leads, how the servers are, and what of it can be changed.

mod autopilot;
mod keyring;

use axum::body::Body;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::cluster::{Operation, OperatorError};
use crate::model::{Member, NodeId, Role};
use crate::state::State;

use super::answer;
use super::blocking;
use super::call::{Answer, Call};
use super::error::Failure;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    RaftConfiguration,
    RaftPeer,
    TransferLeader,
    AutopilotConfiguration,
    AutopilotHealth,
    AutopilotState,
    Usage,
    Keyring,
}

pub async fn answer(call: Call<'_>, operator: Operator, body: Body) -> Answer {
    // These read nothing that a query could wait for; what they say of consistency is still held
    // against each other.
    let options = call.options()?;
    if matches!(
        operator,
        Operator::RaftConfiguration | Operator::AutopilotHealth | Operator::AutopilotState
    ) {
        blocking::led(call.front, &options).await?;
    }
    match operator {
        Operator::RaftConfiguration => configuration(&call),
        Operator::RaftPeer => remove(&call).await,
        Operator::TransferLeader => transfer(&call).await,
        Operator::AutopilotConfiguration if *call.method == Method::PUT => {
            autopilot::configure(&call, body).await
        }
        Operator::AutopilotConfiguration => autopilot::configuration(&call),
        Operator::AutopilotHealth => autopilot::health(&call),
        Operator::AutopilotState => autopilot::state(&call),
        Operator::Usage => usage(&call),
        Operator::Keyring => keyring::answer(&call, body).await,
    }
}

/// Consul's id of a server: its node's UUID, or else what the cluster calls it.
fn id(state: &State, member: &Member) -> String {
    let node = state.node(member.name.as_str()).map(|row| row.def.uuid.clone());
    node.filter(|uuid| !uuid.is_empty()).unwrap_or_else(|| member.id.to_string())
}

fn servers(state: &State) -> impl Iterator<Item = &Member> {
    state.members().map(|member| &**member).filter(|member| member.role == Role::Server)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RaftServer<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    address: String,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
}

fn configuration(call: &Call<'_>) -> Answer {
    let (state, standing) = (call.front.cluster.snapshot(), call.front.cluster.standing());
    let rows = servers(&state).map(|member| RaftServer {
        id: id(&state, member),
        node: member.name.as_str(),
        address: member.peer_addr.to_string(),
        leader: standing.leader == Some(member.id),
        protocol_version: "3",
        voter: standing.voters.contains(&member.id),
    });
    let rows: Vec<RaftServer<'_>> = rows.collect();
    Ok(answer::json(&json!({ "Servers": rows, "Index": standing.membership }), call.pretty()))
}

/// The server that `id` means: Consul's id of it, its name, or what the cluster calls it.
fn by_id(state: &State, asked: &str) -> Option<NodeId> {
    let is = |member: &&Member| {
        id(state, member) == asked
            || member.name.as_str() == asked
            || member.id.to_string() == asked
    };
    servers(state).find(is).map(|member| member.id)
}

async fn remove(call: &Call<'_>) -> Answer {
    let given = |name| call.params.get(name).filter(|text| !text.is_empty());
    let state = call.front.cluster.snapshot();
    let bad = |why: &str| Failure::bad(format!("Bad request: {why}"));
    let found = match (given("id"), given("address")) {
        (None, None) => {
            return Err(bad(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to \
                 remove",
            ));
        }
        (Some(_), Some(_)) => return Err(bad("Must specify only one of ?id or ?address")),
        (Some(asked), None) => by_id(&state, asked).ok_or(("id", asked)),
        (None, Some(asked)) => servers(&state)
            .find(|member| member.peer_addr.to_string() == asked)
            .map(|member| member.id)
            .ok_or(("address", asked)),
    };
    let server = found.map_err(|(what, asked)| {
        Failure::internal(format!("{what} {asked:?} was not found in the Raft configuration"))
    })?;
    call.front.cluster.operate(Operation::RemoveServer(server)).await.map_err(failed)?;
    Ok(answer::empty(StatusCode::OK))
}

async fn transfer(call: &Call<'_>) -> Answer {
    let to = match call.params.get("id").filter(|id| !id.is_empty()) {
        None => None,
        Some(asked) => Some(by_id(&call.front.cluster.snapshot(), asked).ok_or_else(|| {
            Failure::internal(format!("id {asked:?} was not found in the Raft configuration"))
        })?),
    };
    call.front.cluster.operate(Operation::TransferLeader(to)).await.map_err(failed)?;
    Ok(answer::json(&json!({ "Success": true }), call.pretty()))
}

pub fn failed(error: OperatorError) -> Failure {
    match error {
        OperatorError::Propose(error) => error.into(),
        OperatorError::NotServer(_) => {
            Failure::new(StatusCode::MISDIRECTED_REQUEST, error.to_string())
        }
        _ => Failure::internal(error.to_string()),
    }
}

fn usage(call: &Call<'_>) -> Answer {
    let state = call.front.cluster.snapshot();
    let services = state.service_names().count();
    let instances: usize = state.service_names().map(|s| state.instances(s.as_str()).count()).sum();
    let consul = state.instances("consul").count();
    let usage = json!({
        "Nodes": state.nodes().count(),
        "Services": services,
        "ServiceInstances": instances,
        "ConnectServiceInstances": {},
        "BillableServiceInstances": instances.saturating_sub(consul),
    });
    let datacenter = call.front.config.datacenter.clone();
    let of = serde_json::Map::from_iter([(datacenter, usage)]);
    Ok(answer::json(&json!({ "Usage": of }), call.pretty()))
}

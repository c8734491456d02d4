//! `/status`: one JSON page that says who this agent is, how it is, and whom it knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Query, State};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::access::{self, Caller, Need, Resource, Sight};
use crate::cluster::{RaftRole, Standing};
use crate::lifecycle::{Gate, Level};
use crate::model::{Health, NodeId, Role};
use crate::state::{self, PRESENCE_CHECK};

use super::shown::Shown;
use super::{CLUSTER, Listener, Parts, answer};

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    agent: Agent<'a>,
    #[serde(flatten)]
    cluster: Cluster,
    gates: BTreeMap<&'static str, bool>,
    /// None, and so of the board: not for who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Vec<&'a Listener>>,
    /// Of those that who asks may see.
    members: Vec<Member<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<Vec<Entry>>,
}

#[derive(Serialize)]
struct Agent<'a> {
    node: &'a str,
    /// 0 until admitted.
    id: u64,
    version: &'static str,
    role: &'static str,
    /// None on an edge.
    raft: Option<RaftRole>,
    datacenter: &'a str,
    synced: bool,
    /// Since this agent last knew itself in touch with the leader.
    last_contact_ms: u64,
    /// The server that an edge follows.
    upstream: Option<SocketAddr>,
    /// Any listener is.
    insecure: bool,
    /// When the certificate that it shows other agents ends (RFC 3339, UTC).
    certificate_ends: Option<String>,
}

#[derive(Serialize)]
struct Cluster {
    /// 32 hexadecimal digits.
    cluster_id: String,
    leader: Option<u64>,
    leader_address: Option<SocketAddr>,
    term: u64,
    voters: Vec<u64>,
    index: u64,
    revision: i64,
    applied: u64,
    keys: usize,
}

#[derive(Serialize)]
struct Member<'a> {
    id: u64,
    name: &'a str,
    role: &'static str,
    /// `leader`, `voter` or `standby`; nothing on an edge.
    raft: Option<&'static str>,
    address: SocketAddr,
    version: &'a str,
    alive: bool,
}

#[derive(Serialize)]
struct Entry {
    subject: String,
    level: Level,
    text: String,
    for_s: u64,
}

/// Answered whatever is known: tokens close what they close once there is a state to say so.
pub async fn show(
    State(parts): State<Arc<Parts>>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Response<Body> {
    let asker = parts.cluster.asker(&shown.credential(&headers)).await;
    let caller = asker.map_or(Caller::Nobody, |asker| asker.caller);
    let state = parts.cluster.snapshot();
    let sight = state.sight(&caller, &Sight::default()).unwrap_or_default();
    let read = Need::Rule(Resource::Agent, parts.cluster.name().as_str(), access::Level::Read);
    let whole = state.judge(&caller, read).is_ok();
    let members = state.members().filter(|member| sight.node(member.name.as_str()));
    let standing = parts.cluster.standing();
    let page = Page {
        agent: agent(&parts, &standing),
        cluster: cluster(&state, &standing),
        gates: Gate::ALL.iter().map(|g| (g.name(), parts.life.gates.is_open(*g))).collect(),
        listeners: whole.then(|| listeners(&parts, &standing)),
        members: members.map(|member| describe(&state, &standing, member)).collect(),
        board: whole.then(|| board(&parts)),
    };
    let body = serde_json::to_vec(&page).unwrap_or_default();
    answer(&parts, StatusCode::OK, HeaderValue::from_static("application/json"), body)
}

/// An edge has closed what servers listen on for other agents.
fn listeners<'a>(parts: &'a Parts, standing: &Standing) -> Vec<&'a Listener> {
    let closed = standing.role == Role::Edge;
    let open = |listener: &&Listener| !closed || listener.name != CLUSTER;
    parts.listeners.iter().filter(open).collect()
}

fn agent<'a>(parts: &'a Parts, standing: &Standing) -> Agent<'a> {
    Agent {
        node: parts.cluster.name().as_str(),
        id: standing.id.0,
        version: env!("CARGO_PKG_VERSION"),
        role: standing.role.as_str(),
        raft: standing.raft,
        datacenter: &parts.datacenter,
        synced: standing.synced,
        last_contact_ms: u64::try_from(standing.last_contact.as_millis()).unwrap_or(u64::MAX),
        upstream: standing.upstream,
        insecure: parts.listeners.iter().any(|listener| listener.insecure),
        certificate_ends: parts.cluster.certificate_ends().map(date),
    }
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn cluster(state: &state::State, standing: &Standing) -> Cluster {
    Cluster {
        cluster_id: format!("{:032x}", state.identity().cluster),
        leader: standing.leader.map(|id| id.0),
        leader_address: standing.leader_addr,
        term: standing.term,
        voters: standing.voters.iter().map(|id| id.0).collect(),
        index: state.index(),
        revision: state.revision(),
        applied: state.applied().index,
        keys: state.key_count(),
    }
}

fn describe<'a>(
    state: &state::State,
    standing: &Standing,
    member: &'a crate::model::Member,
) -> Member<'a> {
    let check = state.check(&member.name.folded(), PRESENCE_CHECK);
    Member {
        id: member.id.0,
        name: member.name.as_str(),
        role: member.role.as_str(),
        raft: raft_role(standing, member.id, member.role),
        address: member.peer_addr,
        version: &member.version,
        alive: check.is_some_and(|check| check.status != Health::Critical),
    }
}

pub(super) fn raft_role(standing: &Standing, id: NodeId, role: Role) -> Option<&'static str> {
    match role {
        Role::Edge | Role::Relay => None,
        _ if standing.leader == Some(id) => Some("leader"),
        _ if standing.voters.contains(&id) => Some("voter"),
        Role::Server => Some("standby"),
    }
}

fn board(parts: &Parts) -> Vec<Entry> {
    let entries = parts.life.board.entries().into_iter();
    entries
        .map(|(subject, entry)| Entry {
            subject,
            level: entry.level,
            text: entry.text,
            for_s: entry.since.elapsed().as_secs(),
        })
        .collect()
}

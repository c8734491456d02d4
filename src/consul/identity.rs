//! `/v1/agent/self` and `/v1/agent/members`: who this agent is, and who belongs to the cluster.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::Consistency;
use crate::model::{Health, Member, Role};
use crate::state::{PRESENCE_CHECK, State};

use super::answer;
use super::call::{Answer, Call};
use super::params;

/// The Consul whose interface this is: clients look at it to learn what they may ask for.
const INTERFACE: &str = "1.21.0";

/// Consul's numbers for how a member is.
const ALIVE: u8 = 1;
const LEFT: u8 = 3;
const FAILED: u8 = 4;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Itself<'a> {
    config: ConfigJson<'a>,
    debug_config: DebugConfig<'a>,
    coord: Option<()>,
    member: Option<MemberJson<'a>>,
    stats: Stats,
    meta: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigJson<'a> {
    datacenter: &'a str,
    primary_datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: String,
    revision: &'static str,
    server: bool,
    version: &'static str,
    build_date: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DebugConfig<'a> {
    datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "ACLsEnabled")]
    acls_enabled: bool,
    connect_enabled: bool,
    #[serde(rename = "SessionTTLMin")]
    session_ttl_min: &'static str,
    server_mode: bool,
}

/// Groups of words, all of them text.
type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemberJson<'a> {
    name: &'a str,
    addr: String,
    port: u16,
    tags: BTreeMap<&'static str, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

pub async fn itself(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let cluster = &call.front.cluster;
    let state = cluster.read(Consistency::Local).await?;
    let datacenter = &*call.front.config.datacenter;
    let standing = cluster.standing();
    let server = standing.role == Role::Server;
    let node = state.node(cluster.name().as_str());
    let itself = Itself {
        config: ConfigJson {
            datacenter,
            primary_datacenter: datacenter,
            node_name: cluster.name().as_str(),
            node_id: node.map(|row| row.def.uuid.clone()).unwrap_or_default(),
            revision: concat!("remora-", env!("CARGO_PKG_VERSION")),
            server,
            version: INTERFACE,
            build_date: "",
        },
        debug_config: DebugConfig {
            datacenter,
            node_name: cluster.name().as_str(),
            acls_enabled: false,
            connect_enabled: false,
            session_ttl_min: "0s",
            server_mode: server,
        },
        coord: None,
        member: state.member(standing.id).map(|m| member(&state, m, datacenter)),
        stats: stats(&state, server, standing.leader == Some(standing.id)),
        meta: node.map(|row| row.def.meta.clone()).unwrap_or_default(),
    };
    Ok(answer::json(&itself, call.pretty()))
}

fn stats(state: &State, server: bool, leads: bool) -> Stats {
    let words = |words: &[(&'static str, String)]| words.iter().cloned().collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    BTreeMap::from([
        ("build", words(&[("remora", version), ("version", INTERFACE.to_owned())])),
        ("consul", words(&[("leader", leads.to_string()), ("server", server.to_string())])),
        ("raft", words(&[("applied_index", state.applied().index.to_string())])),
    ])
}

pub async fn members(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let state = call.front.cluster.read(Consistency::Local).await?;
    let datacenter = &*call.front.config.datacenter;
    let rows: Vec<MemberJson<'_>> =
        state.members().map(|row| member(&state, row, datacenter)).collect();
    Ok(answer::json(&rows, call.pretty()))
}

fn member<'a>(state: &State, member: &'a Member, datacenter: &str) -> MemberJson<'a> {
    let node = state.node(member.name.as_str());
    let check = state.check(&member.name.folded(), PRESENCE_CHECK);
    let status = match check.map(|check| check.status) {
        None => LEFT,
        Some(Health::Critical) => FAILED,
        Some(_) => ALIVE,
    };
    let role = match member.role {
        Role::Server => "consul",
        Role::Edge | Role::Relay => "node",
    };
    let port = member.peer_addr.port();
    let tags = BTreeMap::from([
        ("build", format!("{INTERFACE}:")),
        ("dc", datacenter.to_owned()),
        ("id", node.map(|row| row.def.uuid.clone()).unwrap_or_default()),
        ("port", port.to_string()),
        ("remora", member.version.clone()),
        ("role", role.to_owned()),
        ("segment", String::new()),
        ("vsn", "2".to_owned()),
    ]);
    MemberJson {
        name: member.name.as_str(),
        addr: member.peer_addr.ip().to_string(),
        port,
        tags,
        status,
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
    }
}

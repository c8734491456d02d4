//! `/v1/agent/self` and `version`: who this agent is, in the words that clients look for.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Consistency, RaftRole, Standing};
use crate::consul::call::{Answer, Call};
use crate::consul::members::{INTERFACE, MemberJson, member};
use crate::consul::{answer, duration, params};
use crate::model::{CheckKind, Health, Role};
use crate::state::State;

use super::is_registered;

const REVISION: &str = concat!("remora-", env!("CARGO_PKG_VERSION"));
/// When that is not said. Go's zero time.
const BUILT: &str = "0001-01-01T00:00:00Z";
/// A port that nothing listens on, as Consul says it.
const CLOSED: i32 = -1;
/// How many numbers Consul's coordinates have, and what those of an agent are that has measured
/// nothing.
const COORDINATE: ([f64; 8], f64, f64, f64) = ([0.0; 8], 1.5, 0.0, 0.000_01);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Itself<'a> {
    config: ConfigJson<'a>,
    debug_config: Value,
    coord: Value,
    member: Option<MemberJson<'a>>,
    stats: Stats,
    meta: BTreeMap<String, String>,
    #[serde(rename = "xDS")]
    xds: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigJson<'a> {
    datacenter: &'a str,
    primary_datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: &'a str,
    revision: &'static str,
    server: bool,
    version: &'static str,
    build_date: &'static str,
    #[serde(rename = "SessionTTLMin")]
    session_ttl_min: String,
}

/// Groups of words, all of them text.
type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

pub async fn itself(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let cluster = &call.front.cluster;
    let state = cluster.read(Consistency::Local).await?;
    let standing = cluster.standing();
    let datacenter = &*call.front.config.datacenter;
    let node = state.node(cluster.name().as_str());
    let (vec, error, adjustment, height) = COORDINATE;
    let itself = Itself {
        config: ConfigJson {
            datacenter,
            primary_datacenter: datacenter,
            node_name: cluster.name().as_str(),
            node_id: node.map(|row| &*row.def.uuid).unwrap_or_default(),
            revision: REVISION,
            server: standing.role == Role::Server,
            version: INTERFACE,
            build_date: BUILT,
            session_ttl_min: session_ttl_min(&call),
        },
        debug_config: debug_config(&call, &state, &standing),
        coord: json!({ "Vec": vec, "Error": error, "Adjustment": adjustment, "Height": height }),
        member: state.member(standing.id).map(|row| member(&state, row, datacenter)),
        stats: stats(&call, &state, &standing),
        meta: node.map(|row| row.def.meta.clone()).unwrap_or_default(),
        xds: json!({
            "SupportedProxies": {},
            "Port": CLOSED,
            "Ports": { "Plaintext": CLOSED, "TLS": CLOSED },
        }),
    };
    Ok(answer::json(&itself, call.pretty()))
}

fn session_ttl_min(call: &Call<'_>) -> String {
    duration::format(call.front.config.session_ttl_min)
}

/// Of the many settings of Consul's those that clients read, as they are here.
fn debug_config(call: &Call<'_>, state: &State, standing: &Standing) -> Value {
    let config = &call.front.config;
    let shown = &config.shown;
    let port = |addr: Option<&SocketAddr>| addr.map_or(CLOSED, |addr| addr.port().into());
    let plain: Vec<SocketAddr> = shown.http.iter().filter_map(|addr| addr.parse().ok()).collect();
    let secure = shown.http.iter().filter_map(|addr| addr.strip_prefix("https://")?.parse().ok());
    let secure: Vec<SocketAddr> = secure.collect();
    let over = |scheme: &'static str| {
        let addrs = shown.dns.iter();
        addrs.map(move |addr| format!("{scheme}://{addr}"))
    };
    let written = |addrs: &[SocketAddr]| -> Vec<String> {
        addrs.iter().map(|addr| format!("tcp://{addr}")).collect()
    };
    json!({
        "ACLsEnabled": state.acl().enabled(),
        "AdvertiseAddrLAN": shown.peer.ip().to_string(),
        "BindAddr": shown.peer.ip().to_string(),
        "ConnectEnabled": false,
        "DNSAddrs": over("tcp").chain(over("udp")).collect::<Vec<_>>(),
        "DNSDomain": format!("{}.", shown.domain),
        "DNSPort": port(shown.dns.first()),
        "DataDir": shown.data_dir.as_ref().map(|dir| dir.display().to_string()),
        "Datacenter": config.datacenter,
        "GRPCPort": CLOSED,
        "GRPCTLSPort": CLOSED,
        "HTTPAddrs": written(&plain),
        "HTTPPort": port(plain.first()),
        "HTTPSAddrs": written(&secure),
        "HTTPSPort": port(secure.first()),
        "KVMaxValueSize": config.kv_value_limit,
        "NodeName": call.front.cluster.name().as_str(),
        "PrimaryDatacenter": config.datacenter,
        "ServerMode": standing.role == Role::Server,
        "ServerPort": shown.peer.port(),
        "SessionTTLMin": session_ttl_min(call),
        "TxnMaxReqLen": config.txn_body_limit,
        "Version": INTERFACE,
    })
}

fn stats(call: &Call<'_>, state: &State, standing: &Standing) -> Stats {
    let words = |words: &[(&'static str, String)]| words.iter().cloned().collect();
    let node = call.node();
    let checks: Vec<_> =
        state.checks_on_node(&node).filter(|row| is_registered(row.source)).collect();
    let ttls = checks.iter().filter(|row| matches!(row.def.kind, CheckKind::Ttl { .. })).count();
    let probes = checks.iter().filter(|row| matches!(row.def.kind, CheckKind::Probe { .. }));
    let services = state.instances_on_node(&node).filter(|row| is_registered(row.source)).count();
    let server = standing.role == Role::Server;
    let leads = standing.leader.is_some() && standing.leader == Some(standing.id);
    let members = state.members().count();
    let silent = state.members().filter(|member| state.is_silent(&member.name.folded())).count();
    let critical = checks.iter().filter(|row| row.status == Health::Critical).count();
    let leader = standing.leader_addr.map(|addr| addr.to_string()).unwrap_or_default();
    let mut stats = BTreeMap::from([
        (
            "agent",
            words(&[
                ("check_monitors", probes.count().to_string()),
                ("check_ttls", ttls.to_string()),
                ("checks", checks.len().to_string()),
                ("checks_critical", critical.to_string()),
                ("services", services.to_string()),
            ]),
        ),
        ("build", words(&[("revision", REVISION.to_owned()), ("version", INTERFACE.to_owned())])),
        (
            "consul",
            words(&[
                ("acl", if state.acl().enabled() { "enabled" } else { "disabled" }.to_owned()),
                ("known_datacenters", "1".to_owned()),
                ("known_servers", standing.voters.len().to_string()),
                ("leader", leads.to_string()),
                ("leader_addr", leader),
                ("server", server.to_string()),
            ]),
        ),
        (
            "runtime",
            words(&[
                ("arch", std::env::consts::ARCH.to_owned()),
                ("os", std::env::consts::OS.to_owned()),
            ]),
        ),
        ("serf_lan", words(&[("failed", silent.to_string()), ("members", members.to_string())])),
    ]);
    if let Some(role) = standing.raft {
        let part = match role {
            RaftRole::Leader => "Leader",
            RaftRole::Voter => "Follower",
            RaftRole::Learner => "NonVoter",
        };
        let peers = standing.voters.iter().filter(|id| **id != standing.id).count();
        stats.insert(
            "raft",
            words(&[
                ("applied_index", state.applied().index.to_string()),
                ("commit_index", standing.committed.to_string()),
                ("last_contact", duration::format(standing.last_contact)),
                ("num_peers", peers.to_string()),
                ("state", part.to_owned()),
                ("term", standing.term.to_string()),
            ]),
        );
    }
    stats
}

pub fn version(call: &Call<'_>) -> Response {
    let version = json!({
        "SHA": REVISION,
        "BuildDate": BUILT,
        "HumanVersion": INTERFACE,
        "FIPS": "",
    });
    answer::json(&version, call.pretty())
}

//! `/v1/operator/autopilot`: how the servers are, and when they count as healthy.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use humantime::format_rfc3339_seconds;
use serde::Serialize;
use serde_json::json;

use crate::cluster::{Cluster, Standing};
use crate::consul::answer;
use crate::consul::call::{Answer, Call, whole};
use crate::consul::decode::{self, DecodeError};
use crate::consul::duration;
use crate::consul::error::Failure;
use crate::model::{Member, limits};
use crate::state::{Autopilot, Command, Outcome, State};

use super::{id, servers};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration<'a> {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u64,
    server_stabilization_time: String,
    redundancy_zone_tag: &'a str,
    disable_upgrade_migration: bool,
    upgrade_version_tag: &'a str,
    create_index: u64,
    modify_index: u64,
}

pub(super) fn configuration(call: &Call<'_>) -> Answer {
    let state = call.front.cluster.snapshot();
    let row = state.autopilot();
    let settings = &row.settings;
    // Nobody has set them: they are those of the beginning.
    let modified = row.modified.max(1);
    let shown = Configuration {
        cleanup_dead_servers: settings.cleanup_dead_servers,
        last_contact_threshold: duration::format_signed(settings.last_contact_threshold),
        max_trailing_logs: settings.max_trailing_logs,
        min_quorum: settings.min_quorum,
        server_stabilization_time: duration::format_signed(settings.stabilization),
        redundancy_zone_tag: &settings.redundancy_zone_tag,
        disable_upgrade_migration: settings.disable_upgrade_migration,
        upgrade_version_tag: &settings.upgrade_version_tag,
        create_index: 1,
        modify_index: modified,
    };
    Ok(answer::json(&shown, call.pretty()))
}

/// All of it is replaced: what is left out is as if it were 0.
pub(super) async fn configure(call: &Call<'_>, body: Body) -> Answer {
    let bad = |why: String| Failure::bad(format!("Bad request: {why}"));
    let body = whole(body, limits::HTTP_BODY).await?;
    let undecodable = |error: DecodeError| bad(format!("Error parsing autopilot config: {error}"));
    let settings = read(&body).map_err(undecodable)?;
    let cas = call
        .params
        .number("cas")
        .map_err(|failure| bad(format!("Error parsing cas value: {}", failure.text)))?;
    // As it is shown, those of the beginning have the index 1.
    let untouched = call.front.cluster.snapshot().autopilot().modified == 0;
    let cas = cas.map(|cas| if untouched && cas == 1 { 0 } else { cas });
    match call.propose(Command::Autopilot { settings, cas }).await? {
        Outcome::Kv(taken) => Ok(answer::json(&taken, call.pretty())),
        _ => Err(Failure::internal("an odd outcome")),
    }
}

fn read(body: &[u8]) -> Result<Autopilot, DecodeError> {
    let mut fields = decode::object(body, "structs.AutopilotConfig")?;
    let settings = Autopilot {
        cleanup_dead_servers: fields.boolean(&["CleanupDeadServers"])?,
        last_contact_threshold: fields.nanoseconds(&["LastContactThreshold"])?,
        max_trailing_logs: fields.unsigned(&["MaxTrailingLogs"])?,
        min_quorum: fields.unsigned(&["MinQuorum"])?,
        stabilization: fields.nanoseconds(&["ServerStabilizationTime"])?,
        redundancy_zone_tag: tag(fields.string(&["RedundancyZoneTag"])?)?,
        disable_upgrade_migration: fields.boolean(&["DisableUpgradeMigration"])?,
        upgrade_version_tag: tag(fields.string(&["UpgradeVersionTag"])?)?,
    };
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(settings)
}

fn tag(text: String) -> Result<String, DecodeError> {
    match text.len() {
        0..=limits::AUTOPILOT_TAG => Ok(text),
        len => Err(DecodeError(format!("a tag has at most 256 bytes, this one has {len}"))),
    }
}

/// How a server is, as far as this agent knows.
struct Server<'a> {
    member: &'a Member,
    id: String,
    alive: bool,
    leader: bool,
    voter: bool,
    last_contact: Duration,
    last_index: u64,
    healthy: bool,
    /// As far as this agent has been looking.
    stable_since: String,
}

fn all<'a>(cluster: &Cluster, state: &'a State, standing: &Standing) -> Vec<Server<'a>> {
    let patience = state.autopilot().settings.patience();
    let server = |member: &'a Member| {
        let alive = state.is_there(member);
        let own = member.id == standing.id;
        // Of others an agent knows that they beat, not when they last did.
        let last_contact = if own { standing.last_contact } else { Duration::ZERO };
        Server {
            id: id(state, member),
            alive,
            leader: standing.leader == Some(member.id),
            voter: standing.voters.contains(&member.id),
            last_contact,
            last_index: if own { state.applied().index } else { standing.committed },
            healthy: alive && (patience.is_zero() || last_contact <= patience),
            stable_since: format_rfc3339_seconds(cluster.steady_since(member.id)).to_string(),
            member,
        }
    };
    servers(state).map(server).collect()
}

/// Whether all are, and how many voters may go before nothing is decided any more.
fn verdict(servers: &[Server<'_>], standing: &Standing) -> (bool, usize) {
    let voters = standing.voters.len();
    let well = servers.iter().filter(|server| server.voter && server.healthy).count();
    let healthy = standing.leader.is_some() && servers.iter().all(|server| server.healthy);
    (healthy, well.saturating_sub(voters / 2 + 1))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerHealth<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: String,
    serf_status: &'static str,
    version: &'a str,
    leader: bool,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    voter: bool,
    stable_since: &'a str,
}

pub(super) fn health(call: &Call<'_>) -> Answer {
    let (state, standing) = (call.front.cluster.snapshot(), call.front.cluster.standing());
    let servers = all(&call.front.cluster, &state, &standing);
    let (healthy, tolerance) = verdict(&servers, &standing);
    let rows: Vec<ServerHealth<'_>> = servers
        .iter()
        .map(|server| ServerHealth {
            id: &server.id,
            name: server.member.name.as_str(),
            address: server.member.peer_addr.to_string(),
            serf_status: status(server),
            version: &server.member.version,
            leader: server.leader,
            last_contact: duration::format(server.last_contact),
            last_term: standing.term,
            last_index: server.last_index,
            healthy: server.healthy,
            voter: server.voter,
            stable_since: &server.stable_since,
        })
        .collect();
    let shown = json!({ "Healthy": healthy, "FailureTolerance": tolerance, "Servers": rows });
    let mut response = answer::json(&shown, call.pretty());
    if !healthy {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    Ok(response)
}

fn status(server: &Server<'_>) -> &'static str {
    if server.alive { "alive" } else { "failed" }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerState<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: String,
    node_status: &'static str,
    version: &'a str,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    stable_since: &'a str,
    read_replica: bool,
    status: &'static str,
    meta: BTreeMap<String, String>,
    node_type: &'static str,
}

pub(super) fn state(call: &Call<'_>) -> Answer {
    let (state, standing) = (call.front.cluster.snapshot(), call.front.cluster.standing());
    let servers = all(&call.front.cluster, &state, &standing);
    let (healthy, tolerance) = verdict(&servers, &standing);
    let row = |server: &Server<'_>| {
        let (status, node_type) = match (server.leader, server.voter) {
            (true, _) => ("leader", "voter"),
            (false, true) => ("voter", "voter"),
            (false, false) => ("non-voter", "read-replica"),
        };
        let node = state.node(server.member.name.as_str());
        json!(ServerState {
            id: &server.id,
            name: server.member.name.as_str(),
            address: server.member.peer_addr.to_string(),
            node_status: self::status(server),
            version: &server.member.version,
            last_contact: duration::format(server.last_contact),
            last_term: standing.term,
            last_index: server.last_index,
            healthy: server.healthy,
            stable_since: &server.stable_since,
            read_replica: false,
            status,
            meta: node.map(|row| row.def.meta.clone()).unwrap_or_default(),
            node_type,
        })
    };
    let rows: BTreeMap<&str, _> = servers.iter().map(|s| (s.id.as_str(), row(s))).collect();
    let leader = servers.iter().find(|server| server.leader).map_or("", |server| &server.id);
    let voters: Vec<&str> = servers.iter().filter(|s| s.voter).map(|s| s.id.as_str()).collect();
    let shown = json!({
        "Healthy": healthy,
        "FailureTolerance": tolerance,
        "OptimisticFailureTolerance": tolerance,
        "Servers": rows,
        "Leader": leader,
        "Voters": voters,
        "ReadReplicas": [],
    });
    Ok(answer::json(&shown, call.pretty()))
}

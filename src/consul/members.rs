//! `/v1/agent/members`: who belongs to the cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::Consistency;
use crate::model::{Health, Member, Role};
use crate::state::{PRESENCE_CHECK, State};

use super::answer;
use super::call::{Answer, Call};
use super::error::Failure;
use super::filter::{Datum, Filter, Row, schema};
use super::params;

/// The Consul whose interface this is: clients look at it to learn what they may ask for.
pub const INTERFACE: &str = "1.21.0";

/// Consul's numbers for how a member is.
const ALIVE: u8 = 1;
const LEFT: u8 = 3;
const FAILED: u8 = 4;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MemberJson<'a> {
    name: Cow<'a, str>,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl Row for MemberJson<'_> {
    fn field(&self, name: &str) -> Datum<'_> {
        match name {
            "Name" => Datum::Text(&self.name),
            "Addr" => Datum::Text(&self.addr),
            "Port" => Datum::Number(self.port.into()),
            "Tags" => Datum::Words(&self.tags),
            "Status" => Datum::Number(self.status.into()),
            "ProtocolMin" => Datum::Number(self.protocol_min.into()),
            "ProtocolMax" => Datum::Number(self.protocol_max.into()),
            "ProtocolCur" => Datum::Number(self.protocol_cur.into()),
            "DelegateMin" => Datum::Number(self.delegate_min.into()),
            "DelegateMax" => Datum::Number(self.delegate_max.into()),
            "DelegateCur" => Datum::Number(self.delegate_cur.into()),
            _ => Datum::Nothing,
        }
    }
}

pub async fn list(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    if call.params.get("segment").is_some_and(|segment| !segment.is_empty()) {
        let text = "Network segments are not supported in this version of Consul";
        return Err(Failure::internal(text));
    }
    let filter = Filter::of(&call.params, schema::MEMBER)?;
    let state = call.front.cluster.read(Consistency::Local).await?;
    let datacenter = &*call.front.config.datacenter;
    let wan = call.params.has("wan");
    // Only servers know the others, as of an installation of one datacenter.
    if wan && call.front.cluster.standing().role != Role::Server {
        return Ok(answer::json(&(), call.pretty()));
    }
    let seer = call.seer(&state)?;
    let rows: Vec<MemberJson<'_>> = state
        .members()
        .filter(|row| !wan || row.role == Role::Server)
        .filter(|row| seer.node(row.name.as_str()))
        .map(|row| match wan {
            false => member(&state, row, datacenter),
            true => across(member(&state, row, datacenter), datacenter),
        })
        .filter(|row| filter.keeps(row))
        .collect();
    Ok(answer::json(&rows, call.pretty()))
}

/// The same as it is known between datacenters.
fn across<'a>(member: MemberJson<'a>, datacenter: &str) -> MemberJson<'a> {
    MemberJson { name: format!("{}.{datacenter}", member.name).into(), ..member }
}

pub fn member<'a>(state: &State, member: &'a Member, datacenter: &str) -> MemberJson<'a> {
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
    let mut tags = BTreeMap::from([
        ("acls", u8::from(state.acl().enabled()).to_string()),
        ("build", format!("{INTERFACE}:")),
        ("dc", datacenter.to_owned()),
        ("id", node.map(|row| row.def.uuid.clone()).unwrap_or_default()),
        ("remora", member.version.clone()),
        ("role", role.to_owned()),
        ("segment", String::new()),
        ("vsn", "2".to_owned()),
        ("vsn_max", "3".to_owned()),
        ("vsn_min", "2".to_owned()),
    ]);
    if member.role == Role::Server {
        tags.insert("port", port.to_string());
    }
    let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    MemberJson {
        name: member.name.as_str().into(),
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

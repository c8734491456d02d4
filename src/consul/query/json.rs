//! Prepared queries, and what they come to, as Consul's clients know them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::consul::rows::HealthJson;
use crate::model::Index;
use crate::state::QueryRow;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    session: String,
    token: &'a str,
    template: TemplateJson<'a>,
    service: TargetJson<'a>,
    #[serde(rename = "DNS")]
    dns: Dns<'a>,
    create_index: Index,
    modify_index: Index,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TemplateJson<'a> {
    r#type: &'static str,
    regexp: &'a str,
    remove_empty_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetJson<'a> {
    service: &'a str,
    failover: Failover<'a>,
    only_passing: bool,
    #[serde(rename = "IgnoreCheckIDs")]
    ignore_check_ids: Option<&'a [String]>,
    near: &'a str,
    tags: Option<&'a [String]>,
    node_meta: Option<&'a BTreeMap<String, String>>,
    service_meta: Option<&'a BTreeMap<String, String>>,
    connect: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failover<'a> {
    nearest_n: i64,
    datacenters: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<Elsewhere<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Elsewhere<'a> {
    peer: &'static str,
    datacenter: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dns<'a> {
    #[serde(rename = "TTL")]
    pub ttl: &'a str,
}

impl<'a> QueryJson<'a> {
    /// Its token is for who may do everything.
    pub fn new(row: &'a QueryRow, with_token: bool) -> QueryJson<'a> {
        let QueryRow { def, create, modified } = row;
        let target = &def.target;
        let elsewhere = |place: &'a String| Elsewhere { peer: "", datacenter: place };
        QueryJson {
            id: def.id.to_string(),
            name: &def.name,
            session: def.session.map(|id| id.to_string()).unwrap_or_default(),
            token: if with_token || def.token.is_empty() { &def.token } else { "<hidden>" },
            template: TemplateJson {
                r#type: if def.template.is_set { "name_prefix_match" } else { "" },
                regexp: &def.template.regexp,
                remove_empty_tags: def.template.remove_empty_tags,
            },
            service: TargetJson {
                service: &target.service,
                failover: Failover {
                    nearest_n: target.nearest,
                    datacenters: target.datacenters.as_deref(),
                    targets: target
                        .elsewhere
                        .as_ref()
                        .map(|all| all.iter().map(elsewhere).collect()),
                },
                only_passing: target.only_passing,
                ignore_check_ids: target.ignored_checks.as_deref(),
                near: &target.near,
                tags: target.tags.as_deref(),
                node_meta: target.node_meta.as_ref(),
                service_meta: target.service_meta.as_ref(),
                connect: target.connect,
            },
            dns: Dns { ttl: &def.ttl_text },
            create_index: *create,
            modify_index: *modified,
        }
    }
}

/// What answers of queries say of their freshness inside their body.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inline {
    pub index: u64,
    /// Nanoseconds.
    pub last_contact: u64,
    pub known_leader: bool,
    pub consistency_level: &'static str,
    pub not_modified: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Executed<'a> {
    pub service: &'a str,
    pub nodes: Vec<HealthJson<'a>>,
    #[serde(rename = "DNS")]
    pub dns: Dns<'a>,
    pub datacenter: &'a str,
    pub failovers: u32,
    #[serde(flatten)]
    pub inline: Inline,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explained<'a> {
    pub query: QueryJson<'a>,
    #[serde(flatten)]
    pub inline: Inline,
}

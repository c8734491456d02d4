//! A session as Consul's clients know it.

use serde::Serialize;

use crate::model::Index;
use crate::state::{Behavior, SessionRow};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    node: &'a str,
    /// Nanoseconds.
    lock_delay: i64,
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    node_checks: Vec<&'a str>,
    service_checks: Option<Vec<ServiceCheckJson<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<&'a str>,
    create_index: Index,
    modify_index: Index,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheckJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    namespace: &'a str,
}

impl<'a> SessionJson<'a> {
    pub fn new(row: &'a SessionRow) -> SessionJson<'a> {
        let SessionRow { def, index } = row;
        let of_services = def.service_checks.iter().flatten();
        let of_services = of_services
            .map(|check| ServiceCheckJson { id: &check.id, namespace: &check.namespace });
        SessionJson {
            id: def.id.to_string(),
            name: &def.name,
            node: &def.node,
            lock_delay: def.lock_delay,
            behavior: match def.behavior {
                Behavior::Release => "release",
                Behavior::Delete => "delete",
            },
            ttl: &def.ttl_text,
            node_checks: def.node_checks.iter().map(|id| &**id).collect(),
            service_checks: def.service_checks.is_some().then(|| of_services.collect()),
            checks: def.checks.iter().map(|id| &**id).collect(),
            create_index: *index,
            modify_index: *index,
        }
    }
}

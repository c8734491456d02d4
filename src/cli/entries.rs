//! The instances of a service as the health endpoint gives them.

use serde::Deserialize;
use serde_json::Value;

use super::Result;
use super::api::{Api, escape};
use crate::model::Health;

/// One instance with its node and all its checks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) service: Service,
    pub(super) checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node {
    #[serde(rename = "Node")]
    pub(super) name: String,
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) tags: Vec<String>,
    address: String,
    port: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check {
    name: String,
    status: Health,
    output: String,
}

impl Entry {
    /// The worst of its checks.
    pub(super) fn health(&self) -> Health {
        Health::worst(self.checks.iter().map(|check| check.status))
    }

    /// Where to connect to: `host:port`, an IPv6 address in brackets.
    pub(super) fn endpoint(&self) -> String {
        let own = &self.service.address;
        let host = if own.is_empty() { &self.node.address } else { own };
        let port = self.service.port;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// What the checks that do not pass say, in one line.
    pub(super) fn complaint(&self) -> String {
        let bad = self.checks.iter().filter(|check| check.status != Health::Passing);
        let said: Vec<String> = bad
            .map(|check| {
                let output = check.output.lines().next().unwrap_or_default().trim();
                format!("{}: {output}", check.name)
            })
            .collect();
        said.join("; ")
    }
}

/// All instances of a service, whatever their health: as JSON, and understood.
pub(super) fn of_service(
    api: &Api,
    name: &str,
    tag: Option<&str>,
) -> Result<(Vec<Value>, Vec<Entry>)> {
    let tag = tag.map(|tag| format!("?tag={}", escape(tag))).unwrap_or_default();
    let reply = api.get(&format!("/v1/health/service/{}{tag}", escape(name)))?.success()?;
    Ok((reply.json()?, reply.json()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        serde_json::from_str(json).expect("an entry")
    }

    #[test]
    fn an_entry_has_an_endpoint_a_health_and_a_complaint() {
        let entry = entry(
            r#"{"Node": {"Node": "n1", "Address": "10.0.0.1", "ID": "x"},
                "Service": {"ID": "web", "Service": "web", "Tags": ["a"], "Address": "",
                            "Port": 80},
                "Checks": [{"Name": "heartbeat", "Status": "passing", "Output": ""},
                           {"Name": "http", "Status": "critical", "Output": "refused\nmore"}]}"#,
        );
        assert_eq!(entry.endpoint(), "10.0.0.1:80");
        assert_eq!(entry.health(), Health::Critical);
        assert_eq!(entry.complaint(), "http: refused");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let entry = entry(
            r#"{"Node": {"Node": "n1", "Address": "10.0.0.1"},
                "Service": {"ID": "w", "Tags": [], "Address": "fd00::1", "Port": 80},
                "Checks": []}"#,
        );
        assert_eq!(entry.endpoint(), "[fd00::1]:80");
    }
}

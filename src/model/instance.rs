//! What an app promises to be: a service instance, its address, tags and weights.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Health;

/// Who put an instance or a check into the catalog, and so who may take it out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The agent's config file: present while the agent runs with that file.
    Config,
    /// The agent's HTTP API: kept over restarts of the agent.
    Api,
    /// `/v1/catalog/register`: not run by any agent.
    Catalog,
    /// Made by Remora itself: the service `consul`, the check `serfHealth`.
    System,
}

/// Shares of traffic by health; an instance that is critical has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Weights {
    pub passing: u16,
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { passing: 1, warning: 1 }
    }
}

impl Weights {
    /// The share of an instance in that health.
    pub fn at(self, health: Health) -> u16 {
        match health {
            Health::Passing => self.passing,
            Health::Warning => self.warning,
            Health::Critical => 0,
        }
    }
}

/// Another address of an instance, by a name such as `wan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedAddress {
    pub address: String,
    pub port: i32,
}

/// One instance of a service as its owner defines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDef {
    /// Unique on its node.
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub tags: Vec<Arc<str>>,
    pub meta: BTreeMap<String, String>,
    /// Empty: the node's address.
    pub address: Arc<str>,
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// As the client sent it: Consul takes any integer; only 1..=65535 can be balanced to.
    pub port: i32,
    pub weights: Weights,
    pub enable_tag_override: bool,
}

impl ServiceDef {
    /// An instance at its node's address, without a port.
    pub fn new(id: &str, name: &str) -> ServiceDef {
        ServiceDef {
            id: id.into(),
            name: name.into(),
            tags: Vec::new(),
            meta: BTreeMap::new(),
            address: "".into(),
            tagged_addresses: BTreeMap::new(),
            port: 0,
            weights: Weights::default(),
            enable_tag_override: false,
        }
    }

    /// Tags compare without case.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
    }
}

/// Where to reach an instance: what the balancer picks from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub node: Arc<str>,
    pub id: Arc<str>,
    /// An IP address or a host name.
    pub host: Arc<str>,
    pub port: u16,
    pub weight: u16,
}

impl Endpoint {
    /// The host, where it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

//! What a health check is: how to probe, how often, and how many results make a verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Health;

/// A check as its owner defines it. The whole definition lives in the catalog, so that an agent
/// without a disk finds its checks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDef {
    /// Unique on its node.
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub notes: String,
    /// The instance it speaks of; none: the whole node.
    pub service_id: Option<Arc<str>>,
    pub kind: CheckKind,
    /// What the check says before its first result.
    pub initial: Health,
    /// Consecutive good results that turn a critical check good.
    pub rise: u32,
    /// Consecutive bad results that turn a good check bad.
    pub fall: u32,
    /// Deregister the instance once the check has been critical for this long.
    pub deregister_after: Option<Duration>,
}

/// How a check comes to its results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// The app reports; silence for `ttl` is critical.
    Ttl {
        ttl: Duration,
    },
    Http {
        url: String,
        method: String,
        headers: BTreeMap<String, Vec<String>>,
        body: String,
        interval: Duration,
        timeout: Duration,
        tls_skip_verify: bool,
    },
    Tcp {
        address: String,
        interval: Duration,
        timeout: Duration,
    },
    /// The agent's own heartbeat (Consul's `serfHealth`).
    Presence,
    /// Written through the catalog; nothing runs it.
    Static,
    /// Maintenance mode: critical while it is there; nothing runs it.
    Maintenance,
}

impl CheckDef {
    /// A check of a node: critical at first, and every result counts at once.
    pub fn new(id: &str, name: &str, kind: CheckKind) -> CheckDef {
        CheckDef {
            id: id.into(),
            name: name.into(),
            notes: String::new(),
            service_id: None,
            kind,
            initial: Health::Critical,
            rise: 1,
            fall: 1,
            deregister_after: None,
        }
    }

    /// Consul's word for the kind.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            CheckKind::Ttl { .. } => "ttl",
            CheckKind::Http { .. } => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Maintenance => "maintenance",
            CheckKind::Presence | CheckKind::Static => "",
        }
    }
}

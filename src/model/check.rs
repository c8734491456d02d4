//! What a health check is: how to probe, how often, and how many results make a verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Health, limits};

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
    pub flaps: Flaps,
    /// How many bytes of what it says are kept.
    pub output_max: usize,
    /// Deregister the instance once the check has been critical for this long.
    pub deregister_after: Option<Duration>,
}

/// How many consecutive results it takes to turn a check, 0 counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaps {
    /// Good results that turn a bad check good.
    pub rise: u32,
    /// Bad results that turn a good check into a warning. None: it turns critical at once.
    pub warn: Option<u32>,
    /// Bad results that turn a good check critical.
    pub fall: u32,
}

/// How a check comes to its results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// The app reports; silence for `ttl` is critical.
    Ttl { ttl: Duration },
    /// Its agent asks again and again.
    Probe { target: Box<Target>, interval: Duration, timeout: Duration },
    /// Says what the checks of another instance, or of a node, say together.
    Alias {
        /// None: the agent's own.
        node: Option<Arc<str>>,
        /// The instance's id. None: the node's own checks alone.
        service: Option<Arc<str>>,
    },
    /// The agent's own heartbeat (Consul's `serfHealth`).
    Presence,
    /// Written through the catalog; nothing runs it.
    Static,
    /// Maintenance mode: critical while it is there; nothing runs it.
    Maintenance,
}

/// What a probe asks. Addresses are `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Http(HttpTarget),
    /// It accepts a connection, and with `tls` completes a handshake.
    Tcp {
        address: String,
        tls: Option<TlsTarget>,
    },
    /// It does not say that nobody listens there.
    Udp {
        address: String,
    },
    /// `grpc.health.v1`, of one service or of the whole server (empty).
    Grpc {
        address: String,
        service: String,
        tls: Option<TlsTarget>,
    },
    /// It acknowledges a PING frame of HTTP/2.
    H2Ping {
        address: String,
        tls: Option<TlsTarget>,
    },
    /// A program and its arguments: exit 0 passes, 1 warns, anything else is critical.
    Exec {
        argv: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpTarget {
    pub url: String,
    pub method: String,
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: String,
    /// Whether redirects are followed.
    pub redirects: bool,
    pub tls: TlsTarget,
}

/// How the other side of a TLS connection is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsTarget {
    /// The name that its certificate must have, where that is not the one it is reached by.
    pub server_name: Option<String>,
    pub skip_verify: bool,
}

impl Default for Flaps {
    /// Every result counts at once.
    fn default() -> Flaps {
        Flaps { rise: 1, warn: None, fall: 1 }
    }
}

impl HttpTarget {
    /// A plain GET.
    pub fn get(url: &str) -> HttpTarget {
        HttpTarget {
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
            redirects: true,
            tls: TlsTarget::default(),
        }
    }
}

impl CheckKind {
    pub fn probe(target: Target, interval: Duration, timeout: Duration) -> CheckKind {
        CheckKind::Probe { target: Box::new(target), interval, timeout }
    }

    /// Roughly how many bytes it has in the log.
    pub fn weight(&self) -> usize {
        let CheckKind::Probe { target, .. } = self else { return 0 };
        match &**target {
            Target::Http(http) => {
                let values = http.headers.values().flatten().map(String::len).sum::<usize>();
                let names = http.headers.keys().map(String::len).sum::<usize>();
                http.url.len() + http.body.len() + names + values
            }
            Target::Exec { argv } => argv.iter().map(String::len).sum(),
            Target::Tcp { address, .. }
            | Target::Udp { address }
            | Target::Grpc { address, .. }
            | Target::H2Ping { address, .. } => address.len(),
        }
    }
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
            flaps: Flaps::default(),
            output_max: limits::CHECK_OUTPUT,
            deregister_after: None,
        }
    }

    /// Consul's word for the kind.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            CheckKind::Ttl { .. } => "ttl",
            CheckKind::Probe { target, .. } => match &**target {
                Target::Http(_) => "http",
                Target::Tcp { .. } => "tcp",
                Target::Udp { .. } => "udp",
                Target::Grpc { .. } => "grpc",
                Target::H2Ping { .. } => "h2ping",
                Target::Exec { .. } => "script",
            },
            CheckKind::Alias { .. } => "alias",
            CheckKind::Maintenance => "maintenance",
            CheckKind::Presence | CheckKind::Static => "",
        }
    }
}

//! The Consul-shaped HTTP API: keys, sessions, catalog, health, agent and status, with blocking
//! queries.

mod acl;
mod agent;
mod answer;
mod blocking;
mod call;
mod catalog;
mod coordinate;
mod decode;
mod definition;
mod duration;
mod entry;
mod error;
mod event;
mod filter;
mod guard;
mod gzip;
mod health;
mod instances;
mod json;
mod kv;
mod maintenance;
mod members;
mod mesh;
mod operator;
mod params;
mod patience;
mod probe;
mod query;
mod routes;
mod rows;
mod session;
mod shared;
mod snapshot;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod txn;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::lifecycle::{Orders, Shutdown};
use crate::model::limits;
use crate::net::http::Requests;
use crate::presence::Presence;
use crate::telemetry::{Gauge, Logs, Metrics};

use shared::Shelf;

#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's one datacenter.
    pub datacenter: String,
    /// Largest value of a key in bytes.
    pub kv_value_limit: usize,
    /// Largest body of a transaction in bytes, unless a value may be larger.
    pub txn_body_limit: usize,
    /// Operations in one transaction.
    pub txn_ops: usize,
    /// The shortest TTL that a session may ask for.
    pub session_ttl_min: Duration,
    /// Beginnings of paths that are not answered.
    pub blocked: Vec<String>,
    pub shown: Shown,
}

/// What `agent/self` and `agent/host` tell of where this agent is.
#[derive(Debug, Clone)]
pub struct Shown {
    pub data_dir: Option<PathBuf>,
    /// The first domain of DNS.
    pub domain: String,
    /// Where other agents reach this one.
    pub peer: SocketAddr,
    pub dns: Vec<SocketAddr>,
    /// As `status` shows them.
    pub http: Vec<String>,
}

impl Default for Shown {
    fn default() -> Self {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 8300));
        let domain = "consul".to_owned();
        Shown { data_dir: None, domain, peer, dns: Vec::new(), http: Vec::new() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            datacenter: "dc1".to_owned(),
            kv_value_limit: limits::KV_VALUE,
            txn_body_limit: limits::KV_TXN,
            txn_ops: limits::TXN_OPS,
            session_ttl_min: limits::SESSION_TTL.0,
            blocked: Vec::new(),
            shown: Shown::default(),
        }
    }
}

/// What the API answers with, and whom it tells what it is told.
pub struct Handles {
    pub cluster: Cluster,
    pub presence: Presence,
    pub requests: Requests,
    pub metrics: Metrics,
    pub logs: Logs,
    /// For the agent as a whole.
    pub orders: Orders,
    pub shutdown: Shutdown,
}

/// What every request is answered with.
struct Front {
    config: Config,
    cluster: Cluster,
    presence: Presence,
    requests: Requests,
    metrics: Metrics,
    logs: Logs,
    orders: Orders,
    shutdown: Shutdown,
    places: Places,
    /// Streams of events that are open.
    streams: Gauge,
    /// What was asked lately, and its answers.
    shelf: Shelf,
    /// Since when the metrics count.
    started: SystemTime,
}

/// How many may do it at once.
struct Places {
    /// Blocking queries that wait, and things that streams are about.
    waiters: Arc<Semaphore>,
    /// Snapshots that are being restored.
    restores: Semaphore,
}

/// The API as a router whose fallback it is: every path that no other front claims is Consul's.
pub fn router(config: Config, handles: Handles) -> Router {
    let Handles { cluster, presence, requests, metrics, logs, orders, shutdown } = handles;
    let shelf = Shelf::new(cluster.clone(), &metrics);
    let help = "Open streams of /v1/watch";
    let streams = metrics.register("consul_streams", help, Gauge::default());
    let front = Arc::new(Front {
        config,
        cluster,
        presence,
        requests,
        metrics,
        logs,
        orders,
        shutdown,
        places: Places {
            waiters: Arc::new(Semaphore::new(limits::WAITERS)),
            restores: Semaphore::new(limits::RESTORES),
        },
        streams,
        shelf,
        started: SystemTime::now(),
    });
    Router::new().fallback(call::answer).with_state(front)
}

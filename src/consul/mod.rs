//! The Consul-shaped HTTP API: keys, sessions, catalog, health, agent and status, with blocking
//! queries.

mod agent;
mod answer;
mod blocking;
mod call;
mod catalog;
mod decode;
mod definition;
mod duration;
mod entry;
mod error;
mod health;
mod identity;
mod json;
mod kv;
mod maintenance;
mod params;
mod routes;
mod rows;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod txn;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::lifecycle::Shutdown;
use crate::model::limits;
use crate::net::http::Requests;
use crate::presence::Presence;

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
}

impl Default for Config {
    fn default() -> Self {
        Config {
            datacenter: "dc1".to_owned(),
            kv_value_limit: limits::KV_VALUE,
            txn_body_limit: limits::KV_TXN,
            txn_ops: limits::TXN_OPS,
            session_ttl_min: limits::SESSION_TTL.0,
        }
    }
}

/// What every request is answered with.
struct Front {
    config: Config,
    cluster: Cluster,
    presence: Presence,
    requests: Requests,
    shutdown: Shutdown,
    /// Places for blocking queries that wait.
    waiters: Semaphore,
}

/// The API as a router whose fallback it is: every path that no other front claims is Consul's.
pub fn router(
    config: Config,
    cluster: Cluster,
    presence: Presence,
    requests: Requests,
    shutdown: Shutdown,
) -> Router {
    let waiters = Semaphore::new(limits::WAITERS);
    let front = Arc::new(Front { config, cluster, presence, requests, shutdown, waiters });
    Router::new().fallback(call::answer).with_state(front)
}

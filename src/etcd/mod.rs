//! The etcd v3 API: keys, leases, watches, locks and elections over gRPC and through the JSON
//! gateway, and the side endpoints beside it.

mod election;
mod error;
mod gateway;
mod json;
mod kv;
mod lease;
mod lock;
mod members;
mod proto;
mod queue;
mod rpc;
mod side;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::model::limits;
use crate::net::http::Requests;

#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of a request in etcd's own encoding.
    pub request_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { request_limit: limits::ETCD_REQUEST }
    }
}

/// What every call is answered with.
struct Front {
    config: Config,
    cluster: Cluster,
    requests: Requests,
    life: Life,
}

/// Everything below `/v3`, gRPC, and what etcd serves beside it.
pub fn router(config: Config, cluster: Cluster, requests: Requests, life: Life) -> Router {
    let front = Arc::new(Front { config, cluster, requests, life });
    let services = rpc::Services::new(front.clone());
    Router::new()
        .route("/v3", any(gateway::answer))
        .route("/v3/", any(gateway::answer))
        .route("/v3/{*call}", any(gateway::answer))
        .route("/v3beta", any(gateway::answer))
        .route("/v3beta/{*call}", any(gateway::answer))
        .route("/v2/{*path}", any(side::not_found))
        .route("/version", any(side::version))
        .route("/health", any(side::health))
        .route_service("/etcdserverpb.KV/{*call}", services.kv())
        .route_service("/etcdserverpb.Lease/{*call}", services.lease())
        .route_service("/etcdserverpb.Watch/{*call}", services.watch())
        .route_service("/etcdserverpb.Cluster/{*call}", services.cluster())
        .route_service("/v3lockpb.Lock/{*call}", services.lock())
        .route_service("/v3electionpb.Election/{*call}", services.election())
        .with_state(front)
}

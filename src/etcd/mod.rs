//! The etcd v3 API: keys, leases, watches, locks and elections over gRPC and through the JSON
//! gateway, and the side endpoints beside it.

mod address;
mod auth;
mod counts;
mod deadline;
mod election;
mod error;
mod event;
mod gate;
mod gateway;
mod json;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod members;
mod meters;
mod past;
mod proto;
mod queue;
mod rpc;
mod side;
mod txn;
mod watch;
mod wording;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::model::limits;
use crate::net::http::Requests;

use event::Events;

pub use counts::Counts;
pub use meters::meter;
pub use rpc::{Rpc, Switch};

/// The etcd whose interface this is: clients look at it to learn what they may ask for.
const SPOKEN: &str = "3.6.0";

#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of a request in etcd's own encoding.
    pub request_limit: usize,
    /// Operations in each part of a transaction, those inside it counted with their outer one's.
    pub txn_ops: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { request_limit: limits::ETCD_REQUEST, txn_ops: limits::TXN_OPS }
    }
}

/// What every call is answered with.
struct Front {
    config: Config,
    cluster: Cluster,
    requests: Requests,
    life: Life,
    events: Events,
    counts: Counts,
}

impl Front {
    fn new(
        config: Config,
        cluster: Cluster,
        requests: Requests,
        counts: Counts,
        life: Life,
    ) -> Arc<Front> {
        Arc::new(Front { config, cluster, requests, life, events: Events::default(), counts })
    }
}

/// Everything below `/v3` and what etcd serves beside it; and gRPC.
pub fn fronts(
    config: Config,
    cluster: Cluster,
    requests: Requests,
    counts: Counts,
    life: Life,
) -> (Router, Rpc) {
    let front = Front::new(config, cluster, requests, counts, life);
    let mut router = Router::new()
        .route("/v3", any(gateway::answer))
        .route("/v3/", any(gateway::answer))
        .route("/v3/{*call}", any(gateway::answer))
        .route("/v3beta", any(gateway::answer))
        .route("/v3beta/{*call}", any(gateway::answer))
        .route("/v2/{*path}", any(side::not_found))
        .route("/version", any(side::version))
        .route("/health", any(side::health));
    // What comes there and is not gRPC.
    for service in rpc::SERVICES {
        router = router.route(&format!("/{service}/{{*call}}"), any(side::not_found));
    }
    (router.with_state(front.clone()), Rpc::new(front))
}

//! The agent's own pages: `/livez`, `/readyz`, `/metrics`, `/status`, and `/admin/`.

mod admin;
mod probes;
mod shown;
mod snapshot;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::net::http::Requests;
use crate::telemetry::Metrics;

/// The name of the listener for other agents.
pub const CLUSTER: &str = "cluster";

/// What the pages show.
pub struct Parts {
    pub datacenter: String,
    pub cluster: Cluster,
    pub life: Life,
    pub metrics: Metrics,
    pub requests: Requests,
    /// What this agent listens on.
    pub listeners: Vec<Listener>,
}

/// Something that listens, as `status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Listener {
    /// The part of the config that it comes from: `http`, `dns`, `cluster`, `upstreams[0]`.
    pub name: String,
    /// An address and port, with `https://` where TLS is spoken, or `unix:` and a path.
    pub address: String,
    /// Other hosts reach it, and nothing secures it.
    pub insecure: bool,
}

impl Listener {
    pub fn new(name: &str, address: String, insecure: bool) -> Listener {
        Listener { name: name.to_owned(), address, insecure }
    }
}

/// The pages as a router without a fallback.
pub fn router(parts: Parts) -> Router {
    let parts = Arc::new(parts);
    Router::new()
        .route("/", any(home))
        .route("/livez", any(probes::live))
        .route("/livez/{check}", any(probes::live))
        .route("/readyz", any(probes::ready))
        .route("/readyz/{check}", any(probes::ready))
        .route("/metrics", any(metrics))
        .route("/status", get(status::show))
        .merge(admin::routes(&parts))
        .with_state(parts)
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

async fn home(State(parts): State<Arc<Parts>>) -> Response<Body> {
    let text = "Remora agent. Consul's HTTP API is under /v1/, etcd's under /v3/; see /status.\n";
    answer(&parts, StatusCode::OK, TEXT, text)
}

/// Everything that is counted, as OpenMetrics.
async fn metrics(State(parts): State<Arc<Parts>>) -> Response<Body> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = parts.metrics.encode();
    answer(&parts, StatusCode::OK, HeaderValue::from_static(kind), text)
}

fn answer(
    parts: &Parts,
    status: StatusCode,
    kind: HeaderValue,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    parts.requests.count("web", status);
    response
}

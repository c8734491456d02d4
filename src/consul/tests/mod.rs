//! The Consul API against a cluster of one, request by request.

mod access;
mod acl;
mod agent;
mod blocking;
mod catalog;
mod control;
mod events;
mod kv;
mod operator;
mod paths;
mod queries;
mod sessions;
mod snapshots;
mod streams;
mod txn;
mod walk;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::cluster::Cluster;
use crate::lifecycle::{Gate, Life, Orders, Shutdown};
use crate::model::NodeName;
use crate::net::http::Requests;
use crate::presence;
use crate::telemetry::{Logs, Metrics};

use super::Handles;

/// An agent's API with the handles behind it.
#[derive(Clone)]
pub struct Api {
    pub router: Router,
    pub cluster: Cluster,
    life: Life,
    shutdown: Shutdown,
    pub metrics: Metrics,
}

#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("(none)")
    }

    pub fn index(&self) -> u64 {
        self.header("x-consul-index").parse().expect("an index")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Api {
    /// An agent that promises nothing, so that the catalog holds only what a test puts there.
    pub fn new() -> Api {
        let life = Life::default();
        life.shutdown.begin();
        Api::over(Cluster::solo(NodeName::new("n1").expect("a node name")), life)
    }

    /// An agent whose node is in the catalog.
    async fn with_presence() -> Api {
        let api = Api::over(Cluster::solo(NodeName::new("n1").expect("a name")), Life::default());
        api.life.gates.wait(Gate::Registered).await;
        api
    }

    fn over(cluster: Cluster, life: Life) -> Api {
        Api::configured(super::Config::default(), cluster, life)
    }

    /// The same agent, with nothing answered under these paths.
    fn block(&mut self, paths: &[&str]) {
        let blocked = paths.iter().map(|path| (*path).to_owned()).collect();
        let config = super::Config { blocked, ..super::Config::default() };
        *self = Api::configured(config, self.cluster.clone(), self.life.clone());
    }

    fn configured(config: super::Config, cluster: Cluster, life: Life) -> Api {
        let metrics = Metrics::default();
        let presence = presence::start(
            presence::Config {
                node: cluster.name().clone(),
                address: "127.0.0.1".to_owned(),
                meta: Default::default(),
                presence_ttl: Duration::from_secs(10),
                services: Vec::new(),
                peer_port: 8300,
                exec_checks: true,
            },
            cluster.clone(),
            life.clone(),
            &metrics,
        );
        let presence = presence.expect("a presence");
        let requests = Requests::new(&metrics);
        let shutdown = Shutdown::default();
        let router = super::router(
            config,
            Handles {
                cluster: cluster.clone(),
                presence,
                requests,
                metrics: metrics.clone(),
                logs: Logs::of_this_process(),
                // There is no agent around the API that could be told anything.
                orders: Orders::new().0,
                shutdown: shutdown.clone(),
            },
        );
        Api { router, cluster, life, shutdown, metrics }
    }

    pub async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answered {
        self.send_with(method, path, &[], body).await
    }

    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into());
        let response =
            self.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answered { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, "").await
    }

    pub async fn put(&self, path: &str, body: impl Into<Body>) -> Answered {
        self.send("PUT", path, body).await
    }

    pub async fn delete(&self, path: &str) -> Answered {
        self.send("DELETE", path, "").await
    }
}

/// Each line: method, path, body, and what comes back.
async fn check(api: &Api, table: &[(&str, &str, &str, u16, &str)]) {
    for (method, path, body, status, text) in table {
        let answered = api.send(method, path, (*body).to_owned()).await;
        assert_eq!(
            (answered.status, answered.body.as_str()),
            (*status, *text),
            "{method} {path} {body}"
        );
    }
}

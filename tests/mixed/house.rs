//! One agent without listeners: its cluster, its presence, and the fronts that are asked in place.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::BodyExt as _;
use remora::cluster::{self, Cluster, Config, RoleWish};
use remora::lifecycle::{Gate, Life, Orders};
use remora::model::NodeName;
use remora::net::http::Requests;
use remora::telemetry::{Logs, Metrics};
use remora::{consul, etcd, presence};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt as _;

pub struct House {
    router: Router,
    _cluster: Cluster,
    _life: Life,
    _dir: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

pub fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// What stands in a JSON string in base64; absent: nothing.
pub fn decode(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    String::from_utf8(bytes).unwrap()
}

impl House {
    pub async fn start() -> House {
        let dir = TempDir::new().unwrap();
        let (life, metrics) = (Life::default(), Metrics::default());
        let mut config = Config::new(NodeName::new("n1").unwrap(), Some(dir.path().join("data")));
        config.role = RoleWish::Server;
        let cluster = cluster::start(config, life.clone(), &metrics).await.unwrap();
        let config = presence::Config {
            node: cluster.name().clone(),
            address: "127.0.0.1".to_owned(),
            meta: Default::default(),
            presence_ttl: Duration::from_secs(5),
            services: Vec::new(),
            peer_port: 8300,
            exec_checks: false,
        };
        let presence = presence::start(config, cluster.clone(), life.clone(), &metrics).unwrap();
        let requests = Requests::new(&metrics);
        let shutdown = life.shutdown.clone();
        let consul = consul::Config::default();
        let handles = consul::Handles {
            cluster: cluster.clone(),
            presence,
            requests: requests.clone(),
            metrics: metrics.clone(),
            logs: Logs::of_this_process(),
            // There is no agent around the API that could be told anything.
            orders: Orders::new().0,
            shutdown,
        };
        let consul = consul::router(consul, handles);
        let counts = etcd::Counts::default();
        let (etcd, _) =
            etcd::fronts(etcd::Config::default(), cluster.clone(), requests, counts, life.clone());
        life.gates.wait(Gate::Registered).await;
        House { router: consul.merge(etcd), _cluster: cluster, _life: life, _dir: dir }
    }

    pub async fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), body }
    }

    /// etcd's JSON, to the call of that path.
    pub async fn etcd(&self, call: &str, body: &Value) -> Answer {
        self.ask("POST", &format!("/v3/{call}"), body.to_string()).await
    }

    /// As many events as a watch is to tell; fewer, if it tells no more within a while.
    pub async fn watch(&self, body: &Value, events: usize) -> Vec<Value> {
        let request = Request::builder().method("POST").uri("/v3/watch");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (mut body, mut text, mut told) = (response.into_body(), String::new(), Vec::new());
        while told.len() < events {
            let frame = timeout(Duration::from_secs(5), body.frame()).await;
            let Ok(Some(frame)) = frame else { break };
            let Ok(data) = frame.unwrap().into_data() else { continue };
            text.push_str(std::str::from_utf8(&data).unwrap());
            while let Some((line, rest)) = text.split_once('\n') {
                let line: Value = serde_json::from_str(line).unwrap();
                told.extend(line["result"]["events"].as_array().into_iter().flatten().cloned());
                text = rest.to_owned();
            }
        }
        told
    }
}

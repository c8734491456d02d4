//! The Consul API against a cluster of one, request by request.

mod blocking;
mod catalog;
mod kv;
mod paths;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::cluster::Cluster;
use crate::lifecycle::Shutdown;
use crate::model::NodeName;
use crate::net::http::Requests;
use crate::telemetry::Metrics;

/// An agent's API with the handles behind it.
#[derive(Clone)]
struct Api {
    router: Router,
    cluster: Cluster,
    shutdown: Shutdown,
}

#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("(none)")
    }

    fn index(&self) -> u64 {
        self.header("x-consul-index").parse().expect("an index")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Api {
    fn new() -> Api {
        let cluster = Cluster::solo(NodeName::new("n1").expect("a node name"));
        let shutdown = Shutdown::default();
        let requests = Requests::new(&Metrics::default());
        let config = super::Config::default();
        let router = super::router(config, cluster.clone(), requests, shutdown.clone());
        Api { router, cluster, shutdown }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answered {
        let request = Request::builder().method(method).uri(path).body(body.into());
        let response =
            self.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answered { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, "").await
    }

    async fn put(&self, path: &str, body: impl Into<Body>) -> Answered {
        self.send("PUT", path, body).await
    }

    async fn delete(&self, path: &str) -> Answered {
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

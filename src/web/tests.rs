//! The agent's pages against a cluster of one.

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cluster::Cluster;
use crate::lifecycle::{Gate, Level, Life};
use crate::model::NodeName;
use crate::net::http::Requests;
use crate::telemetry::Metrics;

fn pages() -> (Router, Life) {
    let life = Life::default();
    let metrics = Metrics::default();
    let parts = super::Parts {
        datacenter: "dc1".to_owned(),
        cluster: Cluster::solo(NodeName::new("n1").expect("a node name")),
        life: life.clone(),
        requests: Requests::new(&metrics),
        metrics,
        listeners: vec![super::Listener::new("http", "127.0.0.1:8500".to_owned(), false)],
    };
    (super::router(parts), life)
}

async fn get(pages: &Router, path: &str) -> (u16, String, String) {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let response = pages.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, kind, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn readiness_names_the_gates_that_are_shut() {
    let (pages, life) = pages();
    for gate in [Gate::Listening, Gate::Synced, Gate::Registered] {
        life.gates.open(gate);
    }
    let (status, _, text) = get(&pages, "/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("[+]registered ok\n[-]rendered failed: the gate is shut\n"), "{text}");
    assert_eq!(get(&pages, "/readyz?exclude=rendered").await.0, 200);
    assert_eq!(get(&pages, "/readyz/rendered").await.0, 503);
    assert_eq!(get(&pages, "/readyz/nope").await.0, 404);
    life.gates.open(Gate::Rendered);
    let (status, kind, text) = get(&pages, "/readyz").await;
    assert_eq!((status, text.as_str()), (200, "ok\n"));
    assert_eq!(kind, "text/plain; charset=utf-8");
    assert!(get(&pages, "/readyz?verbose").await.2.contains("[+]linearizable_read ok\n"));
}

#[tokio::test]
async fn a_process_that_answers_is_alive() {
    let (pages, _) = pages();
    assert_eq!(get(&pages, "/livez").await.2, "ok\n");
    assert_eq!(get(&pages, "/livez?verbose").await.2, "[+]serializable_read ok\nok\n");
}

#[tokio::test]
async fn status_says_who_and_how() {
    let (pages, life) = pages();
    life.board.set("files/x", Level::Warning, "waits for key a");
    let (status, kind, text) = get(&pages, "/status").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    let page: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&page["node"], &page["role"], &page["raft"]),
        (&json!("n1"), &json!("server"), &json!("leader"))
    );
    assert_eq!(page["gates"]["rendered"], false);
    let http = json!({ "name": "http", "address": "127.0.0.1:8500", "insecure": false });
    assert_eq!((&page["listeners"][0], &page["insecure"]), (&http, &json!(false)));
    assert_eq!(
        (&page["members"][0]["name"], &page["members"][0]["raft"]),
        (&json!("n1"), &json!("leader"))
    );
    assert_eq!(
        (&page["board"][0]["subject"], &page["board"][0]["level"]),
        (&json!("files/x"), &json!("warning"))
    );
    assert!(page["leader_address"].is_string() && page["cluster_id"].is_string());
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let (pages, _) = pages();
    get(&pages, "/status").await;
    let (status, kind, text) = get(&pages, "/metrics").await;
    assert_eq!(
        (status, kind.as_str()),
        (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(text.contains("remora_http_requests_total{route=\"web\",status=\"2xx\"} 1"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

//! The JSON gateway against a cluster of one, request by request.

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cluster::Cluster;
use crate::model::NodeName;
use crate::net::http::Requests;
use crate::telemetry::Metrics;

fn api() -> Router {
    let cluster = Cluster::solo(NodeName::new("n1").expect("a node name"));
    super::router(super::Config::default(), cluster, Requests::new(&Metrics::default()))
}

async fn send(api: &Router, method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(body.into());
    let response = api.clone().oneshot(request.expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The answer without its header, whose revision comes first.
async fn call(api: &Router, name: &str, body: &str) -> (u16, Value) {
    let (status, body) = send(api, "POST", &format!("/v3/kv/{name}"), body.to_owned()).await;
    let mut answer: Value = serde_json::from_str(&body).expect("JSON");
    if let Some(header) = answer.as_object_mut().and_then(|members| members.remove("header")) {
        assert_eq!((&header["member_id"], &header["raft_term"]), (&json!("1"), &json!("1")));
        answer["revision"] = header["revision"].clone();
    }
    (status, answer)
}

#[tokio::test]
async fn a_key_is_put_read_and_deleted() {
    let api = api();
    let first = json!({"key": "a3YvYQ==", "create_revision": "2", "mod_revision": "2",
        "version": "1", "value": "MQ=="});
    let table = [
        ("range", r#"{"key":"a3YvYQ=="}"#, json!({"revision": "1"})),
        ("put", r#"{"key":"a3YvYQ==","value":"MQ=="}"#, json!({"revision": "2"})),
        ("range", r#"{"key":"a3YvYQ=="}"#, json!({"revision": "2", "kvs": [first], "count": "1"})),
        (
            "put",
            r#"{"key":"a3YvYQ==","value":"Mg==","prev_kv":true}"#,
            json!({"revision": "3", "prev_kv": first}),
        ),
        ("put", r#"{"key":"a3YvYg==","prevKv":true}"#, json!({"revision": "4"})),
        (
            "range",
            r#"{"key":"a3Yv","rangeEnd":"a3Yw","countOnly":true}"#,
            json!({"revision": "4", "count": "2"}),
        ),
        (
            "range",
            r#"{"key":"AA==","range_end":"AA==","limit":"1","keys_only":true}"#,
            json!({"revision": "4", "count": "2", "more": true, "kvs": [{"key": "a3YvYQ==",
                "create_revision": "2", "mod_revision": "3", "version": "2"}]}),
        ),
        (
            "range",
            r#"{"key":"a3YvYQ==","revision":2}"#,
            json!({"revision": "4", "kvs": [first], "count": "1"}),
        ),
        ("deleterange", r#"{"key":"bm8="}"#, json!({"revision": "4"})),
        (
            "deleterange",
            r#"{"key":"a3Yv","range_end":"a3Yw"}"#,
            json!({"revision": "5", "deleted": "2"}),
        ),
    ];
    for (name, body, expected) in table {
        assert_eq!(call(&api, name, body).await, (200, expected), "{name} {body}");
    }
}

#[tokio::test]
async fn mistakes_have_etcds_texts_and_statuses() {
    let api = api();
    call(&api, "put", r#"{"key":"a2V5","value":"MQ=="}"#).await;
    let table = [
        ("put", r#"{"value":"eA=="}"#, 400, 3, "etcdserver: key is not provided"),
        ("put", "", 400, 3, "etcdserver: key is not provided"),
        ("range", r#"{"Key":"ZS9h"}"#, 400, 3, "etcdserver: key is not provided"),
        ("range", r#"{"key":null}"#, 400, 3, "etcdserver: key is not provided"),
        ("deleterange", "{}", 400, 3, "etcdserver: key is not provided"),
        (
            "put",
            r#"{"key":"a2V5","value":"eA==","ignore_value":true}"#,
            400,
            3,
            "etcdserver: value is provided",
        ),
        (
            "put",
            r#"{"key":"a2V5","lease":5,"ignore_lease":true}"#,
            400,
            3,
            "etcdserver: lease is provided",
        ),
        ("put", r#"{"key":"bm8=","ignore_value":true}"#, 400, 3, "etcdserver: key not found"),
        (
            "put",
            r#"{"key":"a2V5","lease":"12345"}"#,
            404,
            5,
            "etcdserver: requested lease not found",
        ),
        (
            "range",
            r#"{"key":"a2V5","revision":"99"}"#,
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("range", r#"{"key":"a2V5","sort_target":9}"#, 400, 3, "etcdserver: invalid sort option"),
        ("nope", "{}", 404, 5, "Not Found"),
    ];
    for (name, body, status, code, text) in table {
        let expected = json!({"error": text, "code": code, "message": text});
        assert_eq!(call(&api, name, body).await, (status, expected), "{name} {body}");
    }
}

#[tokio::test]
async fn malformed_bodies_are_refused_and_odd_ones_understood() {
    let api = api();
    call(&api, "put", r#"{"key":"ZS9h"}"#).await;
    let bad = [
        r#"{"key":"ZS9h""#,
        "garbage",
        "[]",
        "null",
        r#""x""#,
        r#"{"key":"ZS9h","key":"ZS9i"}"#,
        r#"{"key":"ZS9h","keys_only":true,"keysOnly":false}"#,
        r#"{"key":"***"}"#,
        r#"{"key":5}"#,
        r#"{"key":["a"]}"#,
        r#"{"key":"ZS9h","limit":"x"}"#,
        r#"{"key":"ZS9h","limit":1.5}"#,
        r#"{"key":"ZS9h","limit":" 1"}"#,
        r#"{"key":"ZS9h","limit":"9223372036854775808"}"#,
        r#"{"key":"ZS9h","keys_only":1}"#,
        r#"{'key':'ZS9h'}"#,
        r#"{"key":"ZS9h",}"#,
    ];
    for body in bad {
        let (status, answer) = call(&api, "range", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{body}");
    }
    let good = [
        r#"{"key":"ZS9h"}trailing"#,
        r#"{"key":"ZS9h","nope":{"a":[1]},"limit":null}"#,
        r#"{"key":"ZS9h","limit":1.0}"#,
        r#"{"key":"ZS9h","limit":"1e1"}"#,
        r#"{"key":"ZS9h","sort_order":"descend","sort_target":"MOD"}"#,
        r#"{"key":"ZS9h","serializable":true,"revision":"0"}"#,
    ];
    for body in good {
        let (status, answer) = call(&api, "range", body).await;
        assert_eq!((status, &answer["count"]), (200, &json!("1")), "{body}");
    }
}

#[tokio::test]
async fn requests_have_etcds_limits() {
    use base64::Engine as _;
    let api = api();
    let put = async |len: usize| {
        let value = base64::engine::general_purpose::STANDARD.encode(vec![b'x'; len]);
        let body = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
        let (status, answer) = call(&api, "put", &body).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(put(1_572_839).await.0, 200);
    let large = "etcdserver: request is too large".to_owned();
    assert_eq!(put(1_572_840).await, (400, large));
    let larger = "grpc: received message larger than max (2097160 vs. 2097152)".to_owned();
    assert_eq!(put(2_097_152).await, (429, larger));
    assert_eq!(put(4_000_000).await.0, 429);
}

#[tokio::test]
async fn methods_paths_and_side_endpoints() {
    let api = api();
    let table = [
        ("GET", "/v3/kv/range", 501, "Method Not Allowed"),
        ("OPTIONS", "/v3/kv/range", 200, ""),
        ("POST", "/v3", 301, ""),
        ("POST", "/v3/kv/range/", 404, "Not Found"),
        ("POST", "/v2/keys/a", 404, "404 page not found"),
        ("GET", "/version", 200, "etcdserver"),
        ("POST", "/version", 405, "Method Not Allowed"),
        ("GET", "/health", 200, r#"{"health":"true","reason":""}"#),
        ("GET", "/health?serializable=true", 200, r#""health":"true""#),
    ];
    for (method, path, status, text) in table {
        let answered = send(&api, method, path, "").await;
        assert!(answered.0 == status && answered.1.contains(text), "{method} {path}: {answered:?}");
    }
    let beta = send(&api, "POST", "/v3beta/kv/range", r#"{"key":"YQ=="}"#).await;
    assert_eq!(beta.0, 200);
}

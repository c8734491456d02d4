//! The JSON gateway against a cluster of one, request by request.

mod auth;
mod maintenance;
mod tokens;
mod turns;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::Switch;
use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::model::NodeName;
use crate::net::http::Requests;
use crate::telemetry::Metrics;

fn api() -> Switch {
    api_of(Cluster::solo(NodeName::new("n1").expect("a node name")))
}

fn api_of(cluster: Cluster) -> Switch {
    let requests = Requests::new(&Metrics::default());
    let (counts, life) = (super::Counts::default(), Life::default());
    let (router, rpc) = super::fronts(super::Config::default(), cluster, requests, counts, life);
    rpc.before(router)
}

async fn send(api: &Switch, method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(body.into());
    let response = api.clone().oneshot(request.expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The answer without its header, whose revision comes first.
async fn call(api: &Switch, name: &str, body: &str) -> (u16, Value) {
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
async fn a_transaction_takes_one_branch_and_answers_for_each_of_its_operations() {
    let api = api();
    let create = r#"{"compare":[{"key":"YQ==","target":"CREATE","create_revision":"0"}],
        "success":[{"request_put":{"key":"YQ==","value":"MQ=="}},
            {"request_range":{"key":"YQ==","keys_only":true}}],
        "failure":[{"request_range":{"key":"YQ=="}}, {"request_delete_range":{"key":"bm8="}}]}"#;
    let row = json!({"key": "YQ==", "create_revision": "2", "mod_revision": "2", "version": "1"});
    let made = json!({"revision": "2", "succeeded": true, "responses": [
        {"response_put": {"header": {"revision": "2"}}},
        {"response_range": {"header": {"revision": "2"}, "kvs": [row], "count": "1"}},
    ]});
    assert_eq!(call(&api, "txn", create).await, (200, made));
    let mut row = row;
    row["value"] = json!("MQ==");
    let found = json!({"revision": "2", "responses": [
        {"response_range": {"header": {"revision": "2"}, "kvs": [row], "count": "1"}},
        {"response_delete_range": {"header": {"revision": "2"}}},
    ]});
    assert_eq!(call(&api, "txn", create).await, (200, found));
    let nested = r#"{"success":[{"request_txn":{
        "compare":[{"key":"YQ==","result":"GREATER","target":"VALUE","value":"MA=="}],
        "success":[{"request_put":{"key":"Yg==","value":"Mg==","prev_kv":true}}]}}]}"#;
    let inner = json!({"header": {}, "succeeded": true,
        "responses": [{"response_put": {"header": {"revision": "3"}}}]});
    let answer =
        json!({"revision": "3", "succeeded": true, "responses": [{"response_txn": inner}]});
    assert_eq!(call(&api, "txn", nested).await, (200, answer));
    assert_eq!(call(&api, "txn", "{}").await, (200, json!({"revision": "3", "succeeded": true})));
    let delete = r#"{"success":[{"request_delete_range":{"key":"YQ==","range_end":"eg==",
        "prev_kv":false}},{"request_range":{"key":"AA==","range_end":"AA=="}}]}"#;
    let gone = json!({"revision": "4", "succeeded": true, "responses": [
        {"response_delete_range": {"header": {"revision": "4"}, "deleted": "2"}},
        {"response_range": {"header": {"revision": "4"}}},
    ]});
    assert_eq!(call(&api, "txn", delete).await, (200, gone));
}

#[tokio::test]
async fn a_transaction_that_may_not_be_changes_nothing() {
    let api = api();
    let put = |key: &str| format!(r#"{{"request_put":{{"key":"{key}"}}}}"#);
    let many = vec![r#"{"request_range":{"key":"YQ=="}}"#; 129].join(",");
    let inner = vec![r#"{"request_range":{"key":"YQ=="}}"#; 128].join(",");
    let delete = r#"{"request_delete_range":{"key":"YQ==","range_end":"Yw=="}}"#;
    let (key, many_text) =
        ("etcdserver: key is not provided", "too many operations in txn request");
    let duplicate = "etcdserver: duplicate key given in txn request";
    let table = [
        (r#"{"compare":[{"target":"MOD"}]}"#.to_owned(), key),
        (r#"{"failure":[{"request_put":{}}]}"#.to_owned(), key),
        (r#"{"success":[{}]}"#.to_owned(), "etcdserver: key not found"),
        (format!(r#"{{"success":[{many}]}}"#), many_text),
        (format!(r#"{{"success":[{{"request_txn":{{"failure":[{inner}]}}}}]}}"#), many_text),
        (format!(r#"{{"success":[{},{}]}}"#, put("YQ=="), put("YQ==")), duplicate),
        (format!(r#"{{"failure":[{},{delete}]}}"#, put("Yg==")), duplicate),
        (
            format!(
                r#"{{"success":[{{"request_txn":{{"success":[{delete}]}}}},{}]}}"#,
                put("Yg==")
            ),
            duplicate,
        ),
        (
            format!(
                r#"{{"success":[{},{{"request_range":{{"key":"YQ==","revision":"9"}}}}]}}"#,
                put("YQ==")
            ),
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            r#"{"success":[{"request_put":{"key":"YQ=="}},
                {"request_put":{"key":"Yg==","lease":"7"}}]}"#
                .to_owned(),
            "etcdserver: requested lease not found",
        ),
    ];
    for (body, text) in table {
        let (status, answer) = call(&api, "txn", &body).await;
        assert!(
            status >= 400 && answer["message"].as_str().unwrap_or("").contains(text),
            "{body}: {answer}"
        );
    }
    // Of two branches one is taken, so both may write the same key.
    let either = format!(
        r#"{{"success":[{{"request_txn":{{"success":[{}],"failure":[{}]}}}}]}}"#,
        put("YQ=="),
        put("YQ==")
    );
    assert_eq!(call(&api, "txn", &either).await.0, 200);
    assert_eq!(call(&api, "range", r#"{"key":"YQ=="}"#).await.1["revision"], "2");
}

#[tokio::test]
async fn a_lease_is_granted_asked_about_and_takes_its_keys_along() {
    let api = api();
    let lease = async |name: &str, body: &str| {
        let (status, answer) = send(&api, "POST", &format!("/v3/{name}"), body.to_owned()).await;
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer.as_object_mut().expect("an object").remove("header");
        (status, answer)
    };
    let granted = lease("lease/grant", r#"{"TTL":60,"ID":"7"}"#).await;
    assert_eq!(granted, (200, json!({"ID": "7", "TTL": "60"})));
    let again = lease("lease/grant", r#"{"TTL":60,"ID":7}"#).await;
    assert_eq!((again.0, &again.1["message"]), (400, &json!("etcdserver: lease already exists")));
    let short = lease("lease/grant", r#"{"TTL":-1,"ID":8}"#).await;
    assert_eq!(short, (200, json!({"ID": "8", "TTL": "2"})));
    let long = lease("lease/grant", r#"{"TTL":"9000000001"}"#).await;
    assert_eq!((long.0, &long.1["message"]), (400, &json!("etcdserver: too large lease TTL")));
    let (_, drawn) = lease("lease/grant", r#"{"TTL":5}"#).await;
    assert!(drawn["ID"].as_str().is_some_and(|id| id.parse::<i64>().is_ok_and(|id| id > 8)));
    call(&api, "put", r#"{"key":"YQ==","lease":"7"}"#).await;
    call(&api, "put", r#"{"key":"Yg==","lease":7}"#).await;
    let left = lease("lease/timetolive", r#"{"ID":7,"keys":true}"#).await;
    let expected = json!({"ID": "7", "TTL": "60", "grantedTTL": "60", "keys": ["YQ==", "Yg=="]});
    assert_eq!(left, (200, expected));
    let alive = send(&api, "POST", "/v3/lease/keepalive", r#"{"ID":7}{"ID":"99"}"#).await;
    let lines: Vec<Value> =
        alive.1.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (&lines[0]["result"]["TTL"], &lines[1]["result"]["ID"]),
        (&json!("60"), &json!("99"))
    );
    assert_eq!(lines[1]["result"].get("TTL"), None, "it does not live");
    let all = lease("kv/lease/leases", "").await.1;
    assert_eq!(all["leases"].as_array().map(Vec::len), Some(3));
    assert_eq!(lease("kv/lease/revoke", r#"{"ID":"7"}"#).await, (200, json!({})));
    let gone = call(&api, "range", r#"{"key":"AA==","range_end":"AA=="}"#).await;
    assert_eq!(gone, (200, json!({"revision": "4"})), "one revision for both keys");
    assert_eq!(lease("lease/timetolive", r#"{"ID":7}"#).await.1, json!({"ID": "7", "TTL": "-1"}));
    assert_eq!(lease("lease/revoke", r#"{"ID":"7"}"#).await.0, 404);
}

#[tokio::test]
async fn history_is_read_until_it_is_compacted() {
    let api = api();
    for _ in 0..3 {
        call(&api, "put", r#"{"key":"YQ=="}"#).await;
    }
    assert_eq!(call(&api, "compaction", "{}").await, (200, json!({"revision": "4"})));
    let past = r#"{"key":"YQ==","revision":"2"}"#;
    assert_eq!(call(&api, "range", past).await.0, 200);
    let compacted = call(&api, "compaction", r#"{"revision":"3","physical":true}"#).await;
    assert_eq!(compacted, (200, json!({"revision": "4"})));
    assert_eq!(call(&api, "range", r#"{"key":"YQ==","revision":"3"}"#).await.0, 200);
    let text = "etcdserver: mvcc: required revision has been compacted";
    for (name, body) in [("range", past), ("compaction", r#"{"revision":"3"}"#), ("compaction", "")]
    {
        let (status, answer) = call(&api, name, body).await;
        assert_eq!((status, &answer["message"]), (400, &json!(text)), "{name} {body}");
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
        r#"{"key":"ZS9h","sort_target":9}"#,
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

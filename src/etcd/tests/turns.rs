//! Locks and elections through the gateway: who has its turn, who waits, who leaves.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::etcd::Switch;

use super::{api, send};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(10);

async fn ask(api: &Switch, call: &str, body: Value) -> (u16, Value) {
    let (status, answer) = send(api, "POST", &format!("/v3/{call}"), body.to_string()).await;
    (status, serde_json::from_str(&answer).unwrap())
}

async fn grant(api: &Switch, id: i64) {
    let granted = ask(api, "lease/grant", json!({"ID": id, "TTL": 60})).await;
    assert_eq!(granted.0, 200, "{granted:?}");
}

/// Asked in the background.
fn begin(api: &Switch, call: &'static str, body: Value) -> JoinHandle<(u16, Value)> {
    let api = api.clone();
    tokio::spawn(async move { ask(&api, call, body).await })
}

async fn end(asked: JoinHandle<(u16, Value)>) -> (u16, Value) {
    timeout(SOON, asked).await.expect("an answer").unwrap()
}

fn b64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Until that key is there, or is not.
async fn until(api: &Switch, key: &str, there: bool) {
    let range = json!({"key": b64(key), "count_only": true});
    let met = async {
        while (ask(api, "kv/range", range.clone()).await.1["count"] == "1") != there {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, met).await.expect("the key comes or goes");
}

#[tokio::test]
async fn a_lock_has_one_holder_and_passes_on_in_order() {
    let api = api();
    for lease in 1..4 {
        grant(&api, lease).await;
    }
    let lock = |lease: i64| json!({"name": b64("job"), "lease": lease});
    let (status, held) = ask(&api, "lock/lock", lock(1)).await;
    assert_eq!((status, &held["key"]), (200, &json!(b64("job/1"))));
    let again = ask(&api, "lock/lock", lock(1)).await.1;
    assert_eq!(again["header"]["revision"], held["header"]["revision"], "it has it already");
    let second = begin(&api, "lock/lock", lock(2));
    until(&api, "job/2", true).await;
    let third = begin(&api, "lock/lock", lock(3));
    until(&api, "job/3", true).await;
    assert_eq!(ask(&api, "lock/unlock", json!({"key": b64("job/1")})).await.0, 200);
    assert_eq!(end(second).await.1["key"], b64("job/2"));
    assert!(!third.is_finished(), "two would hold it");
    assert_eq!(ask(&api, "lease/revoke", json!({"ID": 2})).await.0, 200);
    assert_eq!(end(third).await.1["key"], b64("job/3"));
    let nobody = ask(&api, "lock/unlock", json!({"key": b64("job/1")})).await;
    assert_eq!(nobody.0, 200, "one that nobody holds");
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_and_who_lost_its_lease_is_told() {
    let api = api();
    for lease in 1..4 {
        grant(&api, lease).await;
    }
    let lock = |lease: i64| json!({"name": b64("job"), "lease": lease});
    ask(&api, "lock/lock", lock(1)).await;
    let waits = begin(&api, "lock/lock", lock(2));
    until(&api, "job/2", true).await;
    waits.abort();
    until(&api, "job/2", false).await;
    let waits = begin(&api, "lock/lock", lock(3));
    until(&api, "job/3", true).await;
    ask(&api, "lease/revoke", json!({"ID": 3})).await;
    let (status, expired) = end(waits).await;
    assert_eq!((status, &expired["message"]), (500, &json!("mutex: session is expired")));
}

#[tokio::test]
async fn a_lock_without_a_lease_is_given_one_and_mistakes_have_etcds_texts() {
    let api = api();
    let (status, held) = ask(&api, "lock/lock", json!({"name": b64("job")})).await;
    assert_eq!(status, 200);
    let key = STANDARD.decode(held["key"].as_str().unwrap()).unwrap();
    assert!(key.starts_with(b"job/"));
    let lease = ask(&api, "lease/leases", json!({})).await.1["leases"][0]["ID"].clone();
    let left = ask(&api, "lease/timetolive", json!({"ID": lease, "keys": true})).await.1;
    assert_eq!((&left["grantedTTL"], &left["keys"]), (&json!("60"), &json!([held["key"]])));
    let table = [
        (
            "lock/lock",
            json!({"name": b64("x"), "lease": 9}),
            "etcdserver: requested lease not found",
        ),
        ("lock/unlock", json!({}), "etcdserver: key is not provided"),
        ("election/proclaim", json!({}), "\"leader\" field must be provided"),
        ("election/resign", json!({}), "\"leader\" field must be provided"),
        ("election/proclaim", json!({"leader": {}}), "etcdserver: key is not provided"),
        ("election/leader", json!({"name": b64("x")}), "election: no leader"),
    ];
    for (call, body, text) in table {
        let (status, answer) = ask(&api, call, body.clone()).await;
        assert_eq!((status, &answer["message"], &answer["code"]), (500, &json!(text), &json!(2)));
    }
}

#[tokio::test]
async fn a_leader_proclaims_is_observed_and_resigns() {
    let api = api();
    grant(&api, 1).await;
    grant(&api, 2).await;
    let campaign =
        |lease: i64, value: &str| json!({"name": b64("boss"), "lease": lease, "value": b64(value)});
    let request = http::Request::post("/v3/election/observe")
        .body(axum::body::Body::from(json!({"name": b64("boss")}).to_string()))
        .unwrap();
    let (observed, first) = tokio::join!(
        api.clone().oneshot(request),
        ask(&api, "election/campaign", campaign(1, "a"))
    );
    let mut observed = observed.unwrap().into_body();
    let mut says = async || -> Value {
        let frame = timeout(SOON, observed.frame()).await.expect("a line").unwrap().unwrap();
        let line: Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
        line["result"]["kv"]["value"].clone()
    };
    assert_eq!(says().await, b64("a"));
    let leader = first.1["leader"].clone();
    assert_eq!((&leader["key"], &leader["lease"]), (&json!(b64("boss/1")), &json!("1")));
    let second = begin(&api, "election/campaign", campaign(2, "c"));
    until(&api, "boss/2", true).await;
    let proclaim = json!({"leader": leader, "value": b64("b")});
    assert_eq!(ask(&api, "election/proclaim", proclaim.clone()).await.0, 200);
    assert_eq!(says().await, b64("b"));
    let now = ask(&api, "election/leader", json!({"name": b64("boss")})).await.1;
    assert_eq!(
        (&now["kv"]["value"], &now["kv"]["create_revision"]),
        (&json!(b64("b")), &leader["rev"])
    );
    assert_eq!(ask(&api, "election/resign", json!({"leader": leader})).await.0, 200);
    let next = end(second).await.1["leader"].clone();
    let rev = |leader: &Value| leader["rev"].as_str().unwrap().parse::<i64>().unwrap();
    assert!(rev(&next) > rev(&leader), "a fencing token that rises");
    assert_eq!(says().await, b64("c"));
    let deposed = ask(&api, "election/proclaim", proclaim).await;
    assert_eq!((deposed.0, &deposed.1["message"]), (500, &json!("election: not leader")));
    assert_eq!(ask(&api, "election/resign", json!({"leader": leader})).await.0, 200, "no error");
}

#[tokio::test]
async fn members_are_the_servers() {
    let api = api();
    let (status, list) = ask(&api, "cluster/member/list", json!({"linearizable": true})).await;
    let members = json!([{"ID": "1", "name": "n1", "peerURLs": ["https://127.0.0.1:8300"],
        "clientURLs": ["http://127.0.0.1:2379"]}]);
    assert_eq!((status, &list["members"]), (200, &members));
    assert_eq!(list["header"].get("revision"), None);
}

//! Sessions and the keys that they hold, in Consul's words.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Answered, Api, check};

async fn create(api: &Api, body: &str) -> String {
    let answered = api.put("/v1/session/create", body.to_owned()).await;
    assert_eq!(answered.status, 200, "{body}: {answered:?}");
    answered.json()["ID"].as_str().expect("an id").to_owned()
}

/// What is shown of a session but for its id and its indexes.
async fn shown(api: &Api, id: &str) -> Value {
    let mut rows = api.get(&format!("/v1/session/info/{id}")).await.json();
    let row = rows[0].as_object_mut().expect("a session");
    assert_eq!(row.remove("ID"), Some(json!(id)));
    assert_eq!(row.remove("CreateIndex"), row.remove("ModifyIndex"));
    rows[0].take()
}

async fn key(api: &Api, key: &str) -> Value {
    api.get(&format!("/v1/kv/{key}")).await.json()[0].take()
}

fn said(answered: &Answered) -> (u16, &str) {
    (answered.status, answered.body.as_str())
}

#[tokio::test]
async fn what_is_asked_for_is_shown_and_the_rest_is_consuls() {
    let api = Api::with_presence().await;
    let usual = json!({"Name": "", "Node": "n1", "LockDelay": 15_000_000_000_i64,
        "Behavior": "release", "TTL": "", "NodeChecks": ["serfHealth"], "ServiceChecks": null});
    for (body, differs) in [
        ("", json!({})),
        ("null", json!({})),
        (r#"{"Bogus":1,"Namespace":"x","node_checks":["x"],"lock_delay":"7s"}"#, json!({})),
        (
            r#"{"name":"low","TTL":"15.0s","lockdelay":"1ms","BEHAVIOR":"delete"}"#,
            json!({"Name": "low", "TTL": "15.0s", "LockDelay": 1_000_000, "Behavior": "delete"}),
        ),
        (r#"{"LockDelay":5}"#, json!({"LockDelay": 5_000_000_000_i64})),
        (r#"{"LockDelay":999}"#, json!({"LockDelay": 999_000_000_000_i64})),
        (r#"{"LockDelay":1000}"#, json!({"LockDelay": 1000})),
        (r#"{"LockDelay":"90s"}"#, json!({"LockDelay": 90_000_000_000_i64})),
        (r#"{"LockDelay":true}"#, json!({"LockDelay": 0})),
        (r#"{"LockDelay":"-5s"}"#, json!({"LockDelay": -5_000_000_000_000_000_000_i64})),
        (r#"{"TTL":"0s"}"#, json!({"TTL": "0s"})),
        (r#"{"Checks":[]}"#, json!({"NodeChecks": []})),
        (r#"{"NodeChecks":[]}"#, json!({"NodeChecks": []})),
        (r#"{"NodeChecks":["serfHealth"],"Checks":["serfHealth"]}"#, json!({})),
        (r#"{"ServiceChecks":[]}"#, json!({"ServiceChecks": []})),
        (
            r#"{"ServiceChecks":[{"ID":"serfHealth"}]}"#,
            json!({"ServiceChecks": [{"ID": "serfHealth", "Namespace": ""}]}),
        ),
    ] {
        let mut expected = usual.as_object().expect("an object").clone();
        expected.extend(differs.as_object().expect("an object").clone());
        let id = create(&api, body).await;
        assert_eq!(shown(&api, &id).await, Value::Object(expected), "{body}");
    }
    assert_eq!(api.get("/v1/session/list").await.json().as_array().map(Vec::len), Some(16));
    assert_eq!(api.get("/v1/session/node/N1").await.json().as_array().map(Vec::len), Some(16));
    assert_eq!(api.get("/v1/session/node/nope").await.body, "[]");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_consuls_words() {
    let api = Api::with_presence().await;
    let create = |body: &'static str, status: u16, text: &'static str| {
        ("PUT", "/v1/session/create", body, status, text)
    };
    let unknown = "11111111-2222-3333-4444-555555555555";
    let no_uuid = "failed session lookup: index error: UUID must be 36 characters";
    let array = "Request decode failed: json: cannot unmarshal array into Go value of type struct \
                 { LockDelay interface {}; *structs.Alias }";
    let number = "Request decode failed: json: cannot unmarshal number into Go struct field .TTL \
                  of type string";
    check(
        &api,
        &[
            create("{", 400, "Request decode failed: unexpected EOF"),
            create("[]", 400, array),
            create(r#"{"TTL":10}"#, 400, number),
            create(
                r#"{"LockDelay":"x"}"#,
                400,
                r#"Request decode failed: time: invalid duration "x""#,
            ),
            create(
                r#"{"TTL":"5s"}"#,
                500,
                "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]",
            ),
            create(
                r#"{"TTL":"-10s"}"#,
                500,
                "Invalid Session TTL '-10000000000', must be between [10s=24h0m0s]",
            ),
            create(r#"{"TTL":"x"}"#, 500, r#"Session TTL 'x' invalid: time: invalid duration "x""#),
            create(
                r#"{"TTL":"10"}"#,
                500,
                r#"Session TTL '10' invalid: time: missing unit in duration "10""#,
            ),
            create(r#"{"Behavior":"Delete"}"#, 500, "Invalid Behavior setting 'Delete'"),
            create(r#"{"Node":""}"#, 500, "Must provide Node"),
            create(r#"{"Node":"nope"}"#, 500, "Missing node registration"),
            create(r#"{"Checks":["nope"]}"#, 500, "Missing check 'nope' registration"),
            create(
                r#"{"ServiceChecks":[{"ID":"nope"}]}"#,
                500,
                "Missing check 'nope' registration",
            ),
            ("PUT", "/v1/session/create?dc=dc9", "{}", 500, "No path to datacenter"),
            ("GET", "/v1/session/create", "", 405, "method GET not allowed"),
            ("GET", "/v1/session/info/nope", "", 500, no_uuid),
            ("GET", "/v1/session/info/", "", 400, "Missing session"),
            ("GET", "/v1/session/node/", "", 400, "Missing node name"),
            ("PUT", "/v1/session/renew/nope", "", 500, no_uuid),
            ("PUT", "/v1/session/renew/", "", 400, "Missing session"),
            ("PUT", "/v1/session/destroy/nope", "", 500, no_uuid),
            ("PUT", "/v1/session/destroy/", "", 400, "Missing session"),
            ("PUT", "/v1/kv/l?acquire=nonsense", "x", 500, no_uuid),
            ("PUT", "/v1/kv/l?acquire=", "x", 500, "missing session"),
            ("PUT", "/v1/kv/l?release=", "x", 500, "missing session"),
            ("PUT", "/v1/kv/l?release=nonsense", "x", 200, "false"),
        ],
    )
    .await;
    let gone = format!("Session id '{unknown}' not found");
    let none = format!("invalid session \"{unknown}\"");
    for (method, path, status, text) in [
        ("GET", "/v1/session/info/", 200, "[]"),
        ("PUT", "/v1/session/renew/", 404, &*gone),
        ("PUT", "/v1/session/destroy/", 200, "true"),
        ("PUT", "/v1/kv/l?acquire=", 500, &*none),
        ("PUT", "/v1/kv/l?release=", 200, "false"),
    ] {
        let answered = api.send(method, &format!("{path}{unknown}"), "").await;
        assert_eq!(said(&answered), (status, text), "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_is_taken_by_one_and_let_go_by_the_same() {
    let api = Api::with_presence().await;
    let one = create(&api, r#"{"LockDelay":0}"#).await;
    let two = create(&api, r#"{"LockDelay":0}"#).await;
    let put = async |query: &str, body: &'static str| {
        api.put(&format!("/v1/kv/lock?{query}"), body).await.body
    };
    assert_eq!(put(&format!("acquire={one}"), "a").await, "true");
    let row = key(&api, "lock").await;
    assert_eq!((&row["LockIndex"], &row["Session"]), (&json!(1), &json!(one)));
    assert_eq!(put(&format!("acquire={one}"), "b").await, "true");
    assert_eq!(put(&format!("acquire={two}"), "c").await, "false");
    assert_eq!(put("", "plain").await, "true");
    let row = key(&api, "lock").await;
    assert_eq!((&row["LockIndex"], &row["Session"]), (&json!(1), &json!(one)), "a plain write");
    assert_eq!(put(&format!("release={two}"), "d").await, "false");
    assert_eq!(put(&format!("release={one}&flags=7"), "").await, "true");
    let row = key(&api, "lock").await;
    assert_eq!(
        (&row["LockIndex"], &row["Flags"], &row["Value"]),
        (&json!(1), &json!(7), &json!(null))
    );
    assert!(row.get("Session").is_none());
    assert_eq!(put(&format!("release={one}"), "").await, "false");
    assert_eq!(put(&format!("acquire={two}"), "e").await, "true");
    assert_eq!(key(&api, "lock").await["LockIndex"], 2);
    assert_eq!(api.put(&format!("/v1/session/destroy/{two}"), "").await.body, "true");
    let row = key(&api, "lock").await;
    assert_eq!((&row["Value"], row.get("Session")), (&json!("ZQ=="), None), "its value stays");
    assert_eq!(put(&format!("acquire={one}"), "e").await, "true");
}

#[tokio::test]
async fn a_key_that_was_lost_is_not_taken_before_the_lock_delay_is_over() {
    let api = Api::with_presence().await;
    let (lost, next) = (create(&api, "{}").await, create(&api, "{}").await);
    api.put(&format!("/v1/kv/ld?acquire={lost}"), "x").await;
    api.put(&format!("/v1/session/destroy/{lost}"), "").await;
    assert_eq!(api.put(&format!("/v1/kv/ld?acquire={next}"), "y").await.body, "false");
    assert_eq!(api.put("/v1/kv/ld", "plain").await.body, "true");
}

#[tokio::test]
async fn a_renewed_session_is_shown() {
    let api = Api::with_presence().await;
    for body in ["{}", r#"{"TTL":"10s"}"#] {
        let id = create(&api, body).await;
        let renewed = api.put(&format!("/v1/session/renew/{id}"), "").await;
        assert_eq!((renewed.status, &renewed.json()[0]["ID"]), (200, &json!(id)), "{body}");
        assert_eq!(renewed.header("x-consul-index"), "(none)");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_sessions_is_told_when_one_comes_and_when_one_ends() {
    let api = Api::with_presence().await;
    let ask = |path: String| {
        let api = api.clone();
        tokio::spawn(async move { api.get(&path).await })
    };
    let a_while = || tokio::time::sleep(Duration::from_secs(1));
    let first = create(&api, "{}").await;
    let listed = api.get("/v1/session/list").await;
    assert_eq!(listed.header("x-consul-knownleader"), "true");
    let index = listed.index();
    let waiting = ask(format!("/v1/session/list?index={index}&wait=60s"));
    a_while().await;
    api.put("/v1/kv/unrelated", "x").await;
    a_while().await;
    assert!(!waiting.is_finished(), "a key is no session");
    create(&api, "{}").await;
    let told = timeout(Duration::from_secs(1), waiting).await.expect("at once").unwrap();
    assert_eq!(told.json().as_array().map(Vec::len), Some(2));
    let index = told.index();
    let waiting = ask(format!("/v1/session/info/{first}?index={index}&wait=60s"));
    a_while().await;
    assert!(!waiting.is_finished());
    api.put(&format!("/v1/session/destroy/{first}"), "").await;
    let told = timeout(Duration::from_secs(1), waiting).await.expect("at once").unwrap();
    assert_eq!((told.body.as_str(), told.index() > index), ("[]", true));
}

//! Transactions in Consul's words, as a real one was recorded.

use serde_json::json;

use super::{Api, check};

/// What an answer carries that was not read from the log.
const META: &str = r#","Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#;

fn of_key(key: &str, value: &str, create: u64, modify: u64) -> String {
    format!(
        r#"{{"KV":{{"LockIndex":0,"Key":"{key}","Flags":0,"Value":{value},"CreateIndex":{create},"ModifyIndex":{modify}}}}}"#
    )
}

/// Each line: operations, status, and either what is shown or what is said. Those that only look
/// carry what is true of reads.
async fn ask(api: &Api, ops: &str, status: u16, shown: &str, errors: &str, looks: bool) {
    let answered = api.put("/v1/txn", ops.to_owned()).await;
    let end = if looks { META } else { "}" };
    let text = format!(r#"{{"Results":{shown},"Errors":{errors}{end}"#);
    assert_eq!((answered.status, answered.body.as_str()), (status, text.as_str()), "{ops}");
    let contact = if looks { "0" } else { "(none)" };
    assert_eq!(answered.header("x-consul-lastcontact"), contact, "{ops}");
    assert_eq!(answered.header("x-consul-index"), "(none)", "{ops}");
}

async fn done(api: &Api, ops: &str, shown: &[String]) {
    ask(api, ops, 200, &format!("[{}]", shown.join(",")), "null", false).await;
}

async fn seen(api: &Api, ops: &str, shown: &[String]) {
    ask(api, ops, 200, &format!("[{}]", shown.join(",")), "null", true).await;
}

/// Places and texts of what cannot be done.
async fn fails(api: &Api, ops: &str, looks: bool, errors: &[(usize, &str)]) {
    let told = |(op, what): &(usize, &str)| format!(r#"{{"OpIndex":{op},"What":{}}}"#, json!(what));
    let errors: Vec<String> = errors.iter().map(told).collect();
    ask(api, ops, 409, "null", &format!("[{}]", errors.join(",")), looks).await;
}

#[tokio::test]
async fn keys_are_written_and_looked_at_in_order() {
    let api = Api::new();
    let set = r#"[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}}]"#;
    done(&api, set, &[of_key("a", "null", 2, 2)]).await;
    let ops = r#"[{"KV":{"Verb":"set","Key":"b","Value":"Mg=="}},{"KV":{"Verb":"get","Key":"b"}},
        {"KV":{"Verb":"set","Key":"b","Value":"Mw=="}},{"KV":{"Verb":"get","Key":"b"}}]"#;
    let shown = ["null", "\"Mg==\"", "null", "\"Mw==\""].map(|value| of_key("b", value, 3, 3));
    done(&api, ops, &shown).await;
    seen(&api, r#"[{"KV":{"Verb":"get","Key":"a"}}]"#, &[of_key("a", "\"MQ==\"", 2, 2)]).await;
    seen(&api, r#"[{"KV":{"Verb":"get-tree","Key":"nope"}}]"#, &[]).await;
    let empty = of_key("nope", "null", 0, 0);
    seen(&api, r#"[{"KV":{"Verb":"get-or-empty","Key":"nope"}}]"#, &[empty]).await;
    let cas = r#"[{"KV":{"Verb":"cas","Key":"a","Value":"NA==","Index":2}}]"#;
    done(&api, cas, &[of_key("a", "null", 2, 4)]).await;
    let stale = [(0, r#"failed to set key "a", index is stale"#)];
    fails(&api, cas, false, &stale).await;
    let at = r#"[{"KV":{"Verb":"check-index","Key":"a","Index":4}}]"#;
    seen(&api, at, &[of_key("a", "null", 2, 4)]).await;
    let ops = r#"[{"KV":{"Verb":"set","Key":"m1","Value":"eA=="}},{"KV":{"Verb":"set","Key":"m2"}},
        {"KV":{"Verb":"delete","Key":"m1"}},{"KV":{"Verb":"get-tree","Key":"m"}}]"#;
    let shown =
        [of_key("m1", "null", 5, 5), of_key("m2", "null", 5, 5), of_key("m2", "null", 5, 5)];
    done(&api, ops, &shown).await;
    assert_eq!(api.get("/v1/kv/m?keys").await.body, r#"["m2"]"#);
    done(&api, r#"[{"KV":{"Verb":"delete-cas","Key":"nope","Index":1}}]"#, &[]).await;
    done(&api, r#"[{"KV":{"Verb":"delete-tree","Key":"m"}}]"#, &[]).await;
    let lower = r#"[{"kv":{"verb":"check-not-exists","key":"m2"}}]"#;
    seen(&api, lower, &[]).await;
    for nothing in ["[]", "null", "[{}]", r#"[{"KV":null}]"#] {
        seen(&api, nothing, &[]).await;
    }
}

#[tokio::test]
async fn everything_that_fails_is_said_and_nothing_is_done() {
    let api = Api::new();
    api.put("/v1/kv/b", "x").await;
    let ops = r#"[{"KV":{"Verb":"set","Key":"roll"}},{"KV":{"Verb":"get","Key":"nope"}},
        {"KV":{"Verb":"check-index","Key":"b","Index":3}},{"KV":{"Verb":"lock","Key":"b"}}]"#;
    let late = [
        (1, r#"key "nope" doesn't exist"#),
        (2, r#"failed index check for key "b", current modify index 2 != 3"#),
        (3, "missing session"),
    ];
    fails(&api, ops, false, &late).await;
    assert_eq!(api.get("/v1/kv/roll").await.status, 404);
    // What is seen before anything is tried is said alone.
    let ops = r#"[{"KV":{"Verb":"get","Key":"nope"}},{"KV":{"Verb":"set","Key":""}}]"#;
    fails(&api, ops, false, &[(1, "Must provide key")]).await;
    for (ops, looks, what) in [
        (r#"[{"KV":{}}]"#, true, "Must provide key"),
        (r#"[{"KV":{"Verb":"SET","Key":"k"}}]"#, true, r#"unknown KV verb "SET""#),
        (r#"[{"KV":{"Verb":"check-not-exists","Key":"b"}}]"#, true, r#"key "b" exists"#),
        (
            r#"[{"KV":{"Verb":"check-index","Key":"nope","Index":1}}]"#,
            true,
            r#"failed to check index, key "nope" doesn't exist"#,
        ),
        (
            r#"[{"KV":{"Verb":"delete-cas","Key":"b","Index":1}}]"#,
            false,
            r#"failed to delete key "b", index is stale"#,
        ),
        (
            r#"[{"KV":{"Verb":"unlock","Key":"b","Session":"nonsense"}}]"#,
            false,
            r#"failed to unlock key "b", lock isn't held, or is held by another session"#,
        ),
        (
            r#"[{"KV":{"Verb":"check-session","Key":"b","Session":"x"}}]"#,
            true,
            r#"failed session check for key "b", current session "" != "x""#,
        ),
        (
            r#"[{"Node":{"Verb":"get","Node":{"Node":"nope"}}}]"#,
            true,
            r#"node "nope" doesn't exist"#,
        ),
        (r#"[{"Node":{"Verb":"bad","Node":{"Node":"tn"}}}]"#, false, r#"unknown Node verb "bad""#),
        (r#"[{"Node":{"Verb":"set","Node":{"Address":"1.2.3.4"}}}]"#, false, "Must provide node"),
        (
            r#"[{"Service":{"Verb":"set","Node":"nope","Service":{"ID":"x","Service":"x"}}}]"#,
            false,
            "Missing node registration",
        ),
        (
            r#"[{"Service":{"Verb":"bad","Node":"tn","Service":{"ID":"ts"}}}]"#,
            false,
            "Must provide service name with ID",
        ),
    ] {
        fails(&api, ops, looks, &[(0, what)]).await;
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_in_gos_words() {
    let api = Api::new();
    let put = |body, status, text| ("PUT", "/v1/txn", body, status, text);
    let element =
        "Failed to parse body: json: cannot unmarshal array into Go value of type api.TxnOp";
    check(
        &api,
        &[
            put("", 400, "Failed to parse body: EOF"),
            put("{", 400, "Failed to parse body: unexpected EOF"),
            put(
                "{}",
                400,
                "Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps",
            ),
            put(r#"[{"Bogus":{}}]"#, 400, r#"Failed to parse body: json: unknown field "Bogus""#),
            put(
                r#"[{"KV":{"Verb":"set","Key":"k","Bogus":1}}]"#,
                400,
                r#"Failed to parse body: json: unknown field "Bogus""#,
            ),
            put(
                r#"[{"KV":{"Verb":"set","Key":"k","Value":"not base64!"}}]"#,
                400,
                "Failed to parse body: illegal base64 data at input byte 3",
            ),
            put("[[]]", 400, element),
            put(
                r#"[{"Service":{"Service":{"Port":"x"}}}]"#,
                400,
                "Failed to parse body: json: cannot unmarshal string into Go struct field \
                 AgentService.Service.Service.Port of type int",
            ),
            put(
                r#"[{"KV":{"Verb":"set","Key":"k","Value":5}}]"#,
                400,
                "Failed to parse body: json: cannot unmarshal number into Go struct field \
                 KVTxnOp.KV.Value of type []uint8",
            ),
            put(
                r#"[{"KV":{"Verb":"set","Key":"k","Flags":"x"}}]"#,
                400,
                "Failed to parse body: json: cannot unmarshal string into Go struct field \
                 KVTxnOp.KV.Flags of type uint64",
            ),
            (
                "PUT",
                "/v1/txn?stale&consistent",
                "[]",
                400,
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            ),
            ("PUT", "/v1/txn?dc=dc9", "[]", 500, "No path to datacenter"),
            ("GET", "/v1/txn", "", 405, "method GET not allowed"),
        ],
    )
    .await;
    let many = |count: usize| {
        let ops: Vec<String> =
            (0..count).map(|n| format!(r#"{{"KV":{{"Verb":"set","Key":"n{n}"}}}}"#)).collect();
        format!("[{}]", ops.join(","))
    };
    assert_eq!(api.put("/v1/txn", many(128)).await.status, 200);
    let over = api.put("/v1/txn", many(129)).await;
    let text = "Transaction contains too many operations (129 > 128)";
    assert_eq!((over.status, over.body.as_str()), (413, text));
    let long =
        format!(r#"[{{"KV":{{"Verb":"set","Key":"k","Value":"{}"}}}}]"#, "A".repeat(600_000));
    let over = api.put("/v1/txn", long.clone()).await;
    assert_eq!(over.status, 413);
    let text = format!("Request body({} bytes) too large, max size: 524288 bytes. ", long.len());
    assert!(over.body.starts_with(&text), "{}", over.body);
}

#[tokio::test]
async fn nodes_services_and_checks_change_with_the_keys() {
    let api = Api::new();
    let ops = r#"[{"Node":{"Verb":"set","Node":{"Node":"tn","Address":"10.0.0.1","Meta":{"a":"b"}}}},
        {"Service":{"Verb":"set","Node":"tn","Service":{"ID":"ts","Service":"tsvc","Port":1}}},
        {"Check":{"Verb":"set","Check":{"Node":"tn","CheckID":"tc","Name":"tc","Status":"passing",
        "ServiceID":"ts"}}},{"KV":{"Verb":"set","Key":"k"}}]"#;
    let answered = api.put("/v1/txn", ops).await.json();
    let shown = &answered["Results"];
    assert_eq!(answered["Errors"], json!(null));
    let index = &shown[0]["Node"]["ModifyIndex"];
    assert_eq!(shown[0]["Node"]["Meta"], json!({"a": "b"}));
    assert_eq!(
        (&shown[1]["Service"]["Service"], &shown[1]["Service"]["ModifyIndex"]),
        (&json!("tsvc"), index)
    );
    assert_eq!(
        (&shown[2]["Check"]["ServiceName"], &shown[2]["Check"]["ModifyIndex"]),
        (&json!("tsvc"), index)
    );
    assert_eq!(shown[3]["KV"]["ModifyIndex"], 2);
    let health = api.get("/v1/health/service/tsvc").await.json();
    assert_eq!(health[0]["Checks"][0]["CheckID"], "tc");
    let stale = r#"[{"Check":{"Verb":"cas","Check":{"Node":"tn","CheckID":"tc","Name":"tc",
        "Status":"critical","ModifyIndex":1}}}]"#;
    fails(&api, stale, false, &[(0, r#"failed to set check "tc" on node "tn", index is stale"#)])
        .await;
    let stale = r#"[{"Node":{"Verb":"delete-cas","Node":{"Node":"tn","ModifyIndex":1}}}]"#;
    fails(&api, stale, false, &[(0, r#"failed to delete node "tn", index is stale"#)]).await;
    let get = r#"[{"Service":{"Verb":"get","Node":"tn","Service":{"ID":"nope"}}}]"#;
    fails(&api, get, true, &[(0, r#"service "nope" on node "tn" doesn't exist"#)]).await;
    // A session that lives by the node goes with it, and lets its key go.
    let body = r#"{"Node":"tn","Checks":[],"LockDelay":0}"#;
    let session = api.put("/v1/session/create", body).await.json()["ID"].clone();
    let lock = json!([{"KV": {"Verb": "lock", "Key": "l", "Session": session}}]).to_string();
    let locked = api.put("/v1/txn", lock).await.json();
    assert_eq!(locked["Results"][0]["KV"]["Session"], session);
    done(&api, r#"[{"Node":{"Verb":"delete","Node":{"Node":"tn"}}}]"#, &[]).await;
    assert_eq!(api.get("/v1/session/list").await.body, "[]");
    assert_eq!(api.get("/v1/kv/l").await.json()[0].get("Session"), None);
}

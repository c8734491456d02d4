//! The calls about members and upkeep, and the pages beside them, on a cluster of one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::identity::Sum;
use crate::state::BackupReader;

use super::{api, send};

/// The answer without its header, of which the revision is left.
async fn ask(api: &crate::etcd::Switch, call: &str, body: &str) -> (u16, Value) {
    let (status, body) = send(api, "POST", &format!("/v3/{call}"), body.to_owned()).await;
    let mut answer: Value = serde_json::from_str(&body).expect("JSON");
    if let Some(header) = answer.as_object_mut().and_then(|members| members.remove("header")) {
        answer["revision"] = header["revision"].clone();
    }
    (status, answer)
}

async fn refused(api: &crate::etcd::Switch, call: &str, body: &str) -> (u16, u64, String) {
    let (status, answer) = ask(api, call, body).await;
    let code = answer["code"].as_u64().unwrap_or_default();
    (status, code, answer["message"].as_str().unwrap_or_default().to_owned())
}

async fn put(api: &crate::etcd::Switch, key: &str) -> u16 {
    let key = STANDARD.encode(key);
    ask(api, "kv/put", &format!(r#"{{"key":"{key}","value":"eA=="}}"#)).await.0
}

const NO_SPACE: (u16, u64, &str) = (429, 8, "etcdserver: mvcc: database space exceeded");
const CORRUPT: (u16, u64, &str) = (500, 15, "etcdserver: corrupt cluster");

fn same(answer: &(u16, u64, String), expected: (u16, u64, &str)) -> bool {
    (answer.0, answer.1, answer.2.as_str()) == expected
}

#[tokio::test]
async fn an_alarm_is_raised_listed_obeyed_and_ended() {
    let api = api();
    assert_eq!(put(&api, "m/0").await, 200);
    let alarm = "maintenance/alarm";
    assert_eq!(ask(&api, alarm, "{}").await, (200, json!({"revision": "2"})));
    let on = r#"{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"77"}"#;
    let raised = json!({"revision": "2", "alarms": [{"memberID": "77", "alarm": "NOSPACE"}]});
    for _ in 0..2 {
        assert_eq!(ask(&api, alarm, on).await, (200, raised.clone()));
    }
    assert_eq!(ask(&api, alarm, "{}").await, (200, raised.clone()));
    let other = r#"{"alarm":"CORRUPT"}"#;
    assert_eq!(ask(&api, alarm, other).await, (200, json!({"revision": "2"})));
    let (_, status) = ask(&api, "maintenance/status", "{}").await;
    assert_eq!(status["errors"], json!(["memberID:77 alarm:NOSPACE "]));

    let inner = r#"{"success":[{"request_put":{"key":"bS94"}}]}"#;
    for (call, body) in
        [("kv/put", r#"{"key":"bS94"}"#), ("kv/txn", inner), ("lease/grant", r#"{"TTL":60}"#)]
    {
        let answer = refused(&api, call, body).await;
        assert!(same(&answer, NO_SPACE), "{call}: {answer:?}");
    }
    for (call, body) in [
        ("kv/range", r#"{"key":"bS8w"}"#),
        ("kv/deleterange", r#"{"key":"bS8w"}"#),
        ("kv/compaction", r#"{"revision":"2"}"#),
        ("maintenance/defragment", "{}"),
    ] {
        assert_eq!(ask(&api, call, body).await.0, 200, "{call}");
    }
    let off = r#"{"action":"DEACTIVATE","alarm":"NOSPACE","memberID":"77"}"#;
    let mut ended = raised;
    ended["revision"] = json!("3");
    assert_eq!(ask(&api, alarm, off).await, (200, ended));
    assert_eq!(ask(&api, alarm, off).await, (200, json!({"revision": "3"})));
    assert_eq!(put(&api, "m/1").await, 200);
    // Nothing is raised by NONE, and what is not known is an error.
    let none = r#"{"action":"ACTIVATE"}"#;
    assert_eq!(ask(&api, alarm, none).await, (200, json!({"revision": "4"})));
    for unknown in [r#"{"action":9}"#, r#"{"action":"ACTIVATE","alarm":9}"#] {
        let (status, code, _) = refused(&api, alarm, unknown).await;
        assert_eq!((status, code), (400, 3), "{unknown}");
    }
}

#[tokio::test]
async fn a_corrupt_cluster_answers_reads_alone() {
    let api = api();
    let on = r#"{"action":"ACTIVATE","alarm":"CORRUPT","memberID":"1"}"#;
    assert_eq!(ask(&api, "maintenance/alarm", on).await.0, 200);
    for (call, body) in [
        ("kv/put", r#"{"key":"bS94"}"#),
        ("kv/deleterange", r#"{"key":"bS94"}"#),
        ("kv/compaction", r#"{"revision":"1"}"#),
        ("lease/grant", r#"{"TTL":60}"#),
        ("lease/revoke", r#"{"ID":999}"#),
    ] {
        let answer = refused(&api, call, body).await;
        assert!(same(&answer, CORRUPT), "{call}: {answer:?}");
    }
    for call in ["kv/txn", "lease/leases", "cluster/member/list", "maintenance/status"] {
        assert_eq!(ask(&api, call, "{}").await.0, 200, "{call}");
    }
    assert_eq!(ask(&api, "kv/range", r#"{"key":"bS94"}"#).await.0, 200);
}

#[tokio::test]
async fn health_tells_of_alarms_that_are_not_left_out() {
    let api = api();
    let good = (200, r#"{"health":"true","reason":""}"#.to_owned());
    let bad = |kind| (503, format!("{{\"health\":\"false\",\"reason\":\"ALARM {kind}\"}}\n"));
    let health = async |query: &str| send(&api, "GET", &format!("/health{query}"), "").await;
    assert_eq!(health("").await, good);
    for kind in ["NOSPACE", "CORRUPT"] {
        let on = format!(r#"{{"action":"ACTIVATE","alarm":"{kind}","memberID":"1"}}"#);
        ask(&api, "maintenance/alarm", &on).await;
        assert_eq!(health("").await, bad("NOSPACE"));
        let without = if kind == "NOSPACE" { good.clone() } else { bad("CORRUPT") };
        assert_eq!(health("?exclude=NOSPACE").await, without);
    }
    assert_eq!(health("?exclude=CORRUPT&exclude=NOSPACE").await, good);
    assert_eq!(health("?serializable=true").await, bad("NOSPACE"));
}

#[tokio::test]
async fn the_status_is_true() {
    let api = api();
    let (_, before) = ask(&api, "maintenance/status", "{}").await;
    for n in 0..10 {
        assert_eq!(put(&api, &format!("k{n}")).await, 200);
    }
    let (_, after) = ask(&api, "maintenance/status", "{}").await;
    let number = |status: &Value, field: &str| -> i64 {
        status[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    // Ten keys of two bytes, each with a value of one.
    assert_eq!(number(&after, "dbSize") - number(&before, "dbSize"), 10 * (128 + 3));
    assert_eq!(after["dbSize"], after["dbSizeInUse"]);
    assert_eq!(number(&after, "dbSizeQuota"), 2 << 30);
    assert_eq!(number(&after, "raftIndex") - number(&before, "raftIndex"), 10);
    assert_eq!(after["raftIndex"], after["raftAppliedIndex"]);
    assert_eq!((&after["leader"], &after["raftTerm"]), (&json!("1"), &json!("1")));
    assert_eq!(after.get("errors"), None);
    assert_eq!(after.get("isLearner"), None);
}

#[tokio::test]
async fn hashes_follow_what_is_written() {
    let api = api();
    let hash = async |revision: i64| {
        let (status, answer) =
            ask(&api, "maintenance/hashkv", &format!(r#"{{"revision":"{revision}"}}"#)).await;
        assert_eq!(status, 200, "{answer}");
        (answer["hash"].as_u64().unwrap_or_default(), answer["compact_revision"].clone())
    };
    for key in ["m/0", "m/1", "m/2"] {
        assert_eq!(put(&api, key).await, 200);
    }
    let (at_2, at_3, at_4) = (hash(2).await, hash(3).await, hash(0).await);
    assert!(at_2.0 != at_3.0 && at_3.0 != at_4.0);
    assert_eq!(at_4.1, json!("-1"));
    let whole = ask(&api, "maintenance/hash", "{}").await.1["hash"].clone();
    assert_eq!(ask(&api, "maintenance/hash", "{}").await.1["hash"], whole);
    assert_eq!(ask(&api, "kv/compaction", r#"{"revision":"3"}"#).await.0, 200);
    assert_eq!(hash(0).await, (at_4.0, json!("3")));
    assert_eq!(hash(3).await, (at_3.0, json!("-1")), "that of the compaction before");
    assert_ne!(ask(&api, "maintenance/hash", "{}").await.1["hash"], whole);
    let future = "etcdserver: mvcc: required revision is a future revision";
    let gone = "etcdserver: mvcc: required revision has been compacted";
    for (revision, text) in [(90, future), (2, gone)] {
        let body = format!(r#"{{"revision":"{revision}"}}"#);
        assert!(same(&refused(&api, "maintenance/hashkv", &body).await, (400, 11, text)));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_as_etcd_does() {
    let api = api();
    let format = "etcdserver: wrong downgrade target version format";
    let target = "etcdserver: invalid downgrade target version";
    let transferee = "etcdserver: bad leader transferee";
    let urls = "etcdserver: given member URLs are invalid";
    let taken = "etcdserver: Peer URLs already exists";
    let nobody = "etcdserver: member not found";
    let learner = "etcdserver: can only promote a learner member";
    let few = "etcdserver: re-configuration failed due to not enough started members";
    let table = [
        ("maintenance/downgrade", r#"{"action":"VALIDATE","version":"abc"}"#, (400, 3, format)),
        ("maintenance/downgrade", r#"{"action":"VALIDATE","version":"3.0.0"}"#, (400, 3, target)),
        ("maintenance/downgrade", r#"{"action":"ENABLE","version":"3.5"}"#, (400, 3, target)),
        (
            "maintenance/downgrade",
            r#"{"action":"CANCEL"}"#,
            (400, 9, "etcdserver: no inflight downgrade job"),
        ),
        ("maintenance/downgrade", r#"{"action":9}"#, (500, 2, "etcdserver: unknown method")),
        ("maintenance/downgrade", "{}", (400, 3, format)),
        ("maintenance/transfer-leadership", "{}", (400, 9, transferee)),
        ("maintenance/transfer-leadership", r#"{"targetID":"77"}"#, (400, 9, transferee)),
        ("cluster/member/add", "{}", (400, 3, urls)),
        ("cluster/member/add", r#"{"peerURLs":["http://127.0.0.1"]}"#, (400, 3, urls)),
        ("cluster/member/add", r#"{"peerURLs":["http://127.0.0.1:8300"]}"#, (400, 9, taken)),
        ("cluster/member/remove", "{}", (404, 5, nobody)),
        ("cluster/member/remove", r#"{"ID":"1"}"#, (500, 2, few)),
        ("cluster/member/update", r#"{"ID":"123"}"#, (404, 5, nobody)),
        ("cluster/member/promote", r#"{"ID":"123"}"#, (404, 5, nobody)),
        ("cluster/member/promote", r#"{"ID":"1"}"#, (400, 9, learner)),
    ];
    for (call, body, expected) in table {
        let answer = refused(&api, call, body).await;
        assert!(same(&answer, expected), "{call} {body}: {answer:?}");
    }
    let add = r#"{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}"#;
    let (status, code, text) = refused(&api, "cluster/member/add", add).await;
    assert_eq!((status, code), (400, 9));
    assert!(text.contains("remora join-token --role server"), "{text}");
    let elsewhere = r#"{"ID":"1","peerURLs":["http://127.0.0.1:1"]}"#;
    let (status, code, text) = refused(&api, "cluster/member/update", elsewhere).await;
    assert_eq!((status, code), (400, 9));
    assert!(text.contains("cluster.advertise"), "{text}");
    let same_place = r#"{"ID":"1","peerURLs":["http://127.0.0.1:8300"]}"#;
    let (status, answer) = ask(&api, "cluster/member/update", same_place).await;
    assert_eq!((status, &answer["members"][0]["name"]), (200, &json!("n1")));
    let oneself = r#"{"targetID":"1"}"#;
    assert_eq!(ask(&api, "maintenance/transfer-leadership", oneself).await, (200, json!({})));
}

#[tokio::test]
async fn a_snapshot_is_a_backup_in_chunks_with_its_sum() {
    let api = api();
    let mut seed = 1u32;
    for n in 0..200 {
        // Nothing that could be packed.
        let value: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(1_000)
        .collect();
        let value = STANDARD.encode(value);
        let put = format!(r#"{{"key":"{}","value":"{value}"}}"#, STANDARD.encode(n.to_string()));
        assert_eq!(ask(&api, "kv/put", &put).await.0, 200);
    }
    let (status, body) = send(&api, "POST", "/v3/maintenance/snapshot", "{}").await;
    assert_eq!(status, 200);
    let lines: Vec<Value> =
        body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let left = |line: &Value| -> usize {
        let left = line["result"]["remaining_bytes"].as_str();
        left.map_or(0, |left| left.parse().expect("a number"))
    };
    let mut blobs: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| STANDARD.decode(line["result"]["blob"].as_str().expect("a blob")).expect("it"))
        .collect();
    let told = blobs.pop().expect("the sum comes last");
    let all = blobs.concat();
    assert!(all.len().is_multiple_of(512) && blobs.len() > 5);
    let mut rest = all.len();
    for (blob, line) in blobs.iter().zip(&lines) {
        rest -= blob.len();
        assert!(blob.len() <= 32 * 1024 && left(line) == rest, "{line}");
    }
    let mut sum = Sum::default();
    sum.update(&all);
    assert_eq!(told, sum.finish());
    let (mut unwrapping, mut reader) =
        (crate::cluster::Unwrapping::default(), BackupReader::default());
    for piece in [all, told] {
        reader.push(&unwrapping.push(&piece)).expect("a backup");
    }
    reader.push(&unwrapping.finish().expect("whole")).expect("a backup");
    let (head, _) = reader.finish().expect("a backup");
    assert_eq!(head.keys, 200);
}

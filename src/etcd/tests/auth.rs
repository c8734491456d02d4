//! Every call by everybody, and what accounts are to each, through the gateway.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Version};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::access::{Call, Right};
use crate::etcd::Switch;
use crate::etcd::gateway::PLACES;
use crate::net::http::ClientName;

use super::api;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

fn b64(text: &str) -> String {
    STANDARD.encode(text)
}

/// An answer as it comes in.
struct Answer {
    status: u16,
    asked_for: Option<String>,
    body: Body,
}

impl Answer {
    async fn line(&mut self) -> Value {
        let frame = timeout(SOON, self.body.frame()).await.expect("a line in time");
        let frame = frame.expect("a line").unwrap().into_data().unwrap();
        serde_json::from_slice(&frame).unwrap()
    }
}

async fn ask(api: &Switch, token: &str, path: &str, body: &Value) -> Answer {
    let mut request = Request::post(format!("/v3/{path}"));
    if !token.is_empty() {
        request = request.header("authorization", token);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = timeout(SOON, api.clone().oneshot(request)).await.expect("an answer").unwrap();
    let asked_for = answer.headers().get("www-authenticate");
    let asked_for = asked_for.map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    Answer { status, asked_for, body: answer.into_body() }
}

/// The status and the first line.
pub(super) async fn first(api: &Switch, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut answer = ask(api, token, path, body).await;
    (answer.status, answer.line().await)
}

pub(super) async fn done(api: &Switch, token: &str, path: &str, body: Value) -> Value {
    let (status, answer) = first(api, token, path, &body).await;
    assert_eq!(status, 200, "{path} {body}: {answer}");
    answer
}

pub(super) async fn login(api: &Switch, name: &str, password: &str) -> String {
    let asked = json!({"name": name, "password": password});
    let answer = done(api, "", "auth/authenticate", asked).await;
    answer["token"].as_str().unwrap().to_owned()
}

pub(super) const NOBODY: &str = "user name is empty";
pub(super) const WORTHLESS: &str = "invalid auth token";
pub(super) const DENIED: &str = "permission denied";

/// Root, and bob, who may do everything below `app/`. Leases 1 to 3 are bob's; on 9 and 10 are
/// keys that he may not see.
async fn house() -> (Switch, String, String) {
    let api = api();
    furnish(&api).await;
    done(&api, "", "auth/enable", json!({})).await;
    let (root, bob) = (login(&api, "root", "rpw").await, login(&api, "bob", "bpw").await);
    (api, root, bob)
}

/// The same before anybody is asked who it is.
pub(super) async fn furnish(api: &Switch) {
    let app = json!({"permType": "READWRITE", "key": b64("app/"), "range_end": b64("app0")});
    let steps = [
        ("auth/user/add", json!({"name": "root", "password": "rpw"})),
        ("auth/user/grant", json!({"user": "root", "role": "root"})),
        ("auth/user/add", json!({"name": "bob", "password": "bpw"})),
        ("auth/role/add", json!({"name": "app"})),
        ("auth/role/grant", json!({"name": "app", "perm": app})),
        ("auth/user/grant", json!({"user": "bob", "role": "app"})),
        ("lease/grant", json!({"ID": 1, "TTL": 60})),
        ("lease/grant", json!({"ID": 2, "TTL": 60})),
        ("lease/grant", json!({"ID": 3, "TTL": 60})),
        ("lease/grant", json!({"ID": 9, "TTL": 60})),
        ("lease/grant", json!({"ID": 10, "TTL": 60})),
        ("kv/put", json!({"key": b64("secret")})),
        ("kv/put", json!({"key": b64("locked/9"), "lease": 9})),
        ("kv/put", json!({"key": b64("locked/10"), "lease": 10})),
        ("kv/put", json!({"key": b64("app/held"), "lease": 3})),
    ];
    for (path, body) in steps {
        done(api, "", path, body).await;
    }
}

/// What a call is asked for: what bob may, and what he may not.
#[derive(Default)]
pub(super) struct Row {
    pub may: Option<Value>,
    pub may_not: Option<Value>,
}

fn may(body: Value) -> Row {
    Row { may: Some(body), may_not: None }
}

fn may_not(body: Value) -> Row {
    Row { may: None, may_not: Some(body) }
}

fn both(may: Value, may_not: Value) -> Row {
    Row { may: Some(may), may_not: Some(may_not) }
}

fn key(key: &str) -> Value {
    json!({"key": b64(key)})
}

pub(super) fn row(call: Call) -> Row {
    let leader = |name: &str| {
        json!({"leader": {"name": b64(name), "key": b64(&format!("{name}/1")), "rev": 1,
            "lease": 1}, "value": b64("v")})
    };
    let turn = |name: &str, lease: i64| json!({"name": b64(name), "lease": lease});
    match call {
        Call::Range | Call::Put | Call::DeleteRange => both(key("app/1"), key("secret")),
        Call::Txn => both(
            json!({"success": [{"request_put": key("app/1")}]}),
            json!({"compare": [key("secret")], "success": [{"request_put": key("app/1")}]}),
        ),
        Call::Compact => may_not(json!({"revision": 1})),
        Call::Watch => {
            both(json!({"create_request": key("app/1")}), json!({"create_request": key("x")}))
        }
        Call::LeaseGrant => may(json!({"TTL": 60})),
        Call::LeaseRevoke => both(json!({"ID": 2}), json!({"ID": 9})),
        Call::LeaseKeepAlive => may(json!({"ID": 1})),
        Call::LeaseTimeToLive => {
            both(json!({"ID": 3, "keys": true}), json!({"ID": 10, "keys": true}))
        }
        Call::LeaseLeases => may_not(json!({})),
        Call::MemberList => may(json!({"linearizable": true})),
        Call::MemberAdd | Call::MemberUpdate => may_not(json!({"peerURLs": ["http://h:1"]})),
        Call::MemberRemove | Call::MemberPromote => may_not(json!({"ID": "77"})),
        Call::Alarm => both(json!({}), json!({"action": "DEACTIVATE", "alarm": "NOSPACE"})),
        Call::Status | Call::Defragment | Call::Hash | Call::HashKv | Call::Snapshot => {
            may_not(json!({}))
        }
        Call::MoveLeader => may_not(json!({"targetID": "77"})),
        Call::Downgrade => may_not(json!({"version": "3.5"})),
        Call::AuthEnable | Call::AuthDisable => may_not(json!({})),
        Call::AuthStatus => may(json!({})),
        // Whoever asks: it is how one becomes somebody.
        Call::Authenticate => Row::default(),
        Call::UserAdd => may_not(json!({"name": "carol", "password": "c"})),
        Call::UserGet => both(json!({"name": "bob"}), json!({"name": "root"})),
        Call::RoleGet => both(json!({"role": "app"}), json!({"role": "root"})),
        Call::UserList | Call::RoleList => may_not(json!({})),
        Call::UserDelete | Call::UserChangePassword => may_not(json!({"name": "ghost"})),
        Call::UserGrantRole => may_not(json!({"user": "ghost", "role": "app"})),
        Call::UserRevokeRole => may_not(json!({"name": "ghost", "role": "app"})),
        Call::RoleAdd => may_not(json!({"name": "more"})),
        Call::RoleDelete => may_not(json!({"role": "ghost"})),
        Call::RoleGrantPermission => may_not(json!({"name": "ghost", "perm": key("a")})),
        Call::RoleRevokePermission => may_not(json!({"role": "ghost", "key": b64("a")})),
        Call::Lock => both(turn("app/lock", 1), turn("secret", 10)),
        Call::Unlock => both(key("app/lock/1"), key("secret/1")),
        Call::Campaign => both(turn("app/vote", 1), turn("secret", 10)),
        Call::Leader | Call::Observe => both(turn("app/vote", 0), turn("secret", 0)),
        Call::Proclaim | Call::Resign => both(leader("app/vote"), leader("secret")),
    }
}

/// The words of whoever says no, if any did.
pub(super) fn refusal(answer: &Value) -> Option<&'static str> {
    let text = answer.to_string();
    [NOBODY, WORTHLESS, DENIED].into_iter().find(|words| text.contains(words))
}

#[tokio::test]
async fn every_call_takes_its_right_of_nobody_of_strangers_of_users_and_of_root() {
    let (api, root, bob) = house().await;
    // What turns it all off comes last.
    let (last, calls): (Vec<Call>, Vec<Call>) =
        Call::ALL.iter().partition(|call| **call == Call::AuthDisable);
    for call in calls.into_iter().chain(last) {
        let Some((path, _)) = PLACES.iter().find(|(_, other)| *other == call) else {
            assert_eq!(service(call), "Maintenance", "{call:?} has no place");
            continue;
        };
        let row = row(call);
        assert!(row.may.is_some() || row.may_not.is_some() || call == Call::Authenticate);
        let says = async |token: &str, body: &Value| {
            let (status, answer) = first(&api, token, path, body).await;
            let refused = refusal(&answer);
            assert!(refused.is_none() || status >= 400 || call == Call::Watch, "{call:?}");
            refused
        };
        for body in row.may_not.iter().chain(&row.may) {
            assert_eq!(says("", body).await, Some(NOBODY), "{call:?} {body} by nobody");
            assert_eq!(says("x.y", body).await, Some(WORTHLESS), "{call:?} {body} by a stranger");
        }
        if let Some(body) = &row.may_not {
            assert_eq!(says(&bob, body).await, Some(DENIED), "{call:?} {body} by bob");
        }
        if let Some(body) = &row.may {
            assert_eq!(says(&bob, body).await, None, "{call:?} {body} by bob");
        }
        // Of what bob may not: the rest has been done.
        if let Some(body) = row.may_not.as_ref().filter(|_| call != Call::Observe) {
            assert_eq!(says(&root, body).await, None, "{call:?} {body} by root");
        }
    }
    let wrong = json!({"name": "bob", "password": "bpw"});
    let off = first(&api, "", "auth/authenticate", &wrong).await;
    assert_eq!(off.1["message"], "etcdserver: authentication is not enabled");
}

#[tokio::test]
async fn while_accounts_do_not_count_nobody_is_asked_who_it_is() {
    let (api, root, _) = house().await;
    done(&api, &root, "auth/disable", json!({})).await;
    for call in Call::ALL.iter().filter(|call| **call != Call::AuthEnable) {
        let Some((path, _)) = PLACES.iter().find(|(_, other)| other == call) else { continue };
        let row = row(*call);
        for body in row.may.iter().chain(&row.may_not) {
            // Nobody leads there.
            if *call == Call::Observe && *body == row.may_not.clone().unwrap_or_default() {
                continue;
            }
            for token in ["", "x.y"] {
                let said = first(&api, token, path, body).await;
                assert_eq!(refusal(&said.1), None, "{call:?} {body}: {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn refusals_have_etcds_words_and_codes() {
    let (api, root, bob) = house().await;
    let name = |name: &str| json!({"name": name});
    let (no, root_only) = (403, "etcdserver: permission denied");
    let invalid = "etcdserver: invalid auth management";
    let wrong = "etcdserver: authentication failed, invalid user ID or password";
    done(&api, &root, "auth/user/add", json!({"name": "nopw", "options": {"no_password": true}}))
        .await;
    let table = [
        ("", "kv/range", key("app/1"), 400, 3, "etcdserver: user name is empty"),
        ("x", "kv/range", key("app/1"), 401, 16, "etcdserver: invalid auth token"),
        (&bob, "kv/range", key("secret"), no, 7, root_only),
        ("", "auth/enable", json!({}), 400, 3, "etcdserver: user name is empty"),
        ("", "auth/authenticate", name("root"), 400, 3, wrong),
        ("", "auth/authenticate", name("ghost"), 400, 3, wrong),
        ("", "auth/authenticate", json!({}), 400, 3, wrong),
        (
            "",
            "auth/authenticate",
            name("nopw"),
            500,
            2,
            "auth: authentication failed, password was given for no password user",
        ),
        (&bob, "kv/put", json!({"key": b64("app/1"), "lease": 9}), no, 7, root_only),
        (
            &bob,
            "lock/lock",
            json!({"name": b64("secret"), "lease": 1}),
            500,
            2,
            "etcdserver: permission denied",
        ),
        (
            "",
            "lock/lock",
            json!({"name": b64("app/l"), "lease": 1}),
            500,
            2,
            "etcdserver: user name is empty",
        ),
        (&root, "auth/user/delete", name("root"), 400, 3, invalid),
        (&root, "auth/user/revoke", json!({"name": "root", "role": "root"}), 400, 3, invalid),
        (&root, "auth/role/delete", json!({"role": "root"}), 400, 3, invalid),
        (
            &root,
            "auth/role/delete",
            json!({"role": "x"}),
            400,
            9,
            "etcdserver: role name not found",
        ),
        (&root, "auth/user/get", name("x"), 400, 9, "etcdserver: user name not found"),
        (&root, "auth/role/add", json!({}), 400, 3, "etcdserver: role name is empty"),
        (&root, "auth/user/add", json!({}), 400, 3, "etcdserver: user name is empty"),
        (&root, "auth/user/add", name("bob"), 400, 9, "etcdserver: user name already exists"),
        (&root, "auth/role/grant", name("app"), 400, 3, "etcdserver: permission not given"),
        (
            &root,
            "auth/role/grant",
            json!({"name": "app", "perm": {"key": b64("z"), "range_end": b64("a")}}),
            400,
            3,
            invalid,
        ),
    ];
    for (token, path, body, status, code, text) in table {
        let mut answer = ask(&api, token, path, &body).await;
        let said = answer.line().await;
        let found = (answer.status, &said["code"], &said["message"]);
        assert_eq!(found, (status, &json!(code), &json!(text)), "{path} {body}");
        let asked_for = (status == 401).then(|| text.to_owned());
        assert_eq!(answer.asked_for, asked_for, "{path} {body}");
    }
    // A stream that never begins: the same status, another shape.
    let (status, said) = first(&api, "", "lease/keepalive", &json!({"ID": 1})).await;
    let error = json!({"code": 3, "message": "etcdserver: user name is empty"});
    assert_eq!((status, said), (400, json!({"error": error})));
}

#[tokio::test]
async fn a_password_change_ends_tokens_and_a_role_change_does_not() {
    let (api, root, bob) = house().await;
    let read = async |token: &str| first(&api, token, "kv/range", &key("app/1")).await.0;
    assert_eq!(read(&bob).await, 200);
    assert_eq!(read(&format!("Bearer {bob}")).await, 200);
    done(&api, &root, "auth/user/revoke", json!({"name": "bob", "role": "app"})).await;
    assert_eq!(read(&bob).await, 403);
    done(&api, &root, "auth/user/grant", json!({"user": "bob", "role": "app"})).await;
    assert_eq!(read(&bob).await, 200);
    done(&api, &root, "auth/user/changepw", json!({"name": "bob", "password": "new"})).await;
    assert_eq!(read(&bob).await, 401);
    let old = json!({"name": "bob", "password": "bpw"});
    assert_eq!(first(&api, "", "auth/authenticate", &old).await.0, 400);
    let bob = login(&api, "bob", "new").await;
    assert_eq!(read(&bob).await, 200);
    done(&api, &root, "auth/user/delete", json!({"name": "bob"})).await;
    assert_eq!(read(&bob).await, 401);
    // One letter of what it says, or of its signature, and it is worth nothing.
    for at in [0, bob.find('.').unwrap() + 1] {
        let mut other = root.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(read(&String::from_utf8(other).unwrap()).await, 401);
    }
}

#[tokio::test]
async fn streams_tell_nothing_more_once_rights_are_withdrawn() {
    let (api, root, bob) = house().await;
    let create = json!({"create_request": key("app/1")});
    let mut watch = ask(&api, &bob, "watch", &create).await;
    assert_eq!(watch.line().await["result"]["created"], true);
    let campaign = json!({"name": b64("app/vote"), "lease": 1, "value": b64("a")});
    done(&api, &bob, "election/campaign", campaign).await;
    let mut observed = ask(&api, &bob, "election/observe", &json!({"name": b64("app/vote")})).await;
    assert_eq!(observed.line().await["result"]["kv"]["value"], b64("a"));
    done(&api, &bob, "kv/put", key("app/1")).await;
    assert_eq!(watch.line().await["result"]["events"].as_array().unwrap().len(), 1);
    done(&api, &root, "auth/role/delete", json!({"role": "app"})).await;
    done(&api, &root, "kv/put", key("app/1")).await;
    let told = watch.line().await["result"].clone();
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!((&told["canceled"], &told["cancel_reason"]), (&json!(true), &json!(reason)));
    assert_eq!(told["events"], Value::Null);
    let put = json!({"key": b64("app/vote/1"), "value": b64("b"), "lease": 1});
    done(&api, &root, "kv/put", put).await;
    assert_eq!(observed.line().await["error"]["message"], "etcdserver: permission denied");
    for (token, reason) in [
        ("", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        ("x", "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
    ] {
        let refused = done(&api, token, "watch", create.clone()).await["result"].clone();
        assert_eq!(
            (&refused["watch_id"], &refused["cancel_reason"]),
            (&json!("-1"), &json!(reason))
        );
    }
}

/// The service of a call of those for operators and about users.
fn service(call: Call) -> &'static str {
    match call {
        Call::Compact => "KV",
        Call::MemberAdd
        | Call::MemberRemove
        | Call::MemberUpdate
        | Call::MemberList
        | Call::MemberPromote => "Cluster",
        Call::Alarm
        | Call::Status
        | Call::Defragment
        | Call::Hash
        | Call::HashKv
        | Call::Snapshot
        | Call::MoveLeader
        | Call::Downgrade => "Maintenance",
        _ => "Auth",
    }
}

/// The code of a call over gRPC with an empty message; 0: it was let in.
pub(super) async fn code(api: &Switch, call: Call, token: &str, name: Option<&str>) -> String {
    let method = match call {
        Call::HashKv => "HashKV".to_owned(),
        call => format!("{call:?}"),
    };
    let path = format!("/etcdserverpb.{}/{method}", service(call));
    let mut request = Request::post(path).version(Version::HTTP_2);
    request = request.header("content-type", "application/grpc");
    if !token.is_empty() {
        request = request.header("token", token);
    }
    if let Some(name) = name {
        request = request.extension(ClientName(name.into()));
    }
    let request = request.body(Body::from(vec![0; 5])).unwrap();
    let answer = timeout(SOON, api.clone().oneshot(request)).await.expect("an answer").unwrap();
    if answer.status() == 404 {
        return "12".to_owned();
    }
    let code = answer.headers().get("grpc-status");
    code.map_or("0".to_owned(), |code| code.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn over_grpc_the_same_calls_take_the_same_rights() {
    let (api, root, bob) = house().await;
    done(&api, &root, "auth/user/add", json!({"name": "ann", "options": {"no_password": true}}))
        .await;
    let same = |call: &&Call| matches!(call.right(), Right::User | Right::Root);
    let mut walked = 0;
    for call in Call::ALL.iter().copied().filter(|call| same(&call)) {
        if code(&api, call, "", None).await == "12" {
            // Not served.
            continue;
        }
        walked += 1;
        let odd = matches!(call, Call::Hash | Call::HashKv | Call::Defragment | Call::Snapshot);
        let [nobody, stranger, denied] = if odd { ["2"; 3] } else { ["3", "16", "7"] };
        let for_users = call.right() == Right::User;
        assert_eq!(code(&api, call, "", None).await, nobody, "{call:?} by nobody");
        assert_eq!(code(&api, call, "x.y", None).await, stranger, "{call:?} by a stranger");
        let by_bob = code(&api, call, &bob, None).await;
        assert_eq!(by_bob == denied, !for_users, "{call:?} by bob: {by_bob}");
        let by_ann = code(&api, call, "", Some("ann")).await;
        assert_eq!(by_ann == denied, !for_users, "{call:?} by ann's certificate: {by_ann}");
        let by_root = code(&api, call, &root, Some("ann")).await;
        // That its message is empty is another matter.
        assert!(
            call == Call::AuthDisable || by_root != "7" && by_root != "16",
            "{call:?}: {by_root}"
        );
        if call == Call::AuthDisable {
            done(&api, "", "auth/enable", json!({})).await;
        }
    }
    assert!(walked >= 20, "{walked}");
}

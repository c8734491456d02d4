//! What tokens and policies close, and to whom.

use std::time::Duration;

use crate::access::{AclCommand as C, AclTokenPut, DefaultPolicy, Links, PolicyPut, SecretId};
use crate::model::AclId;
use crate::state::{Command, Outcome};

use super::Api;

/// What is shown to be somebody.
pub(super) struct Secrets {
    pub management: &'static str,
    pub weak: &'static str,
}

pub(super) const SECRETS: Secrets = Secrets {
    management: "00000001-2222-3333-4444-555555555555",
    weak: "00000002-2222-3333-4444-555555555555",
};

async fn tell(api: &Api, command: C) {
    let outcome = api.cluster.propose(Command::Acl(command)).await;
    assert!(matches!(outcome, Ok(Outcome::Done | Outcome::Acl(_))), "{outcome:?}");
}

fn put(secret: &str, policies: Vec<AclId>) -> AclTokenPut {
    AclTokenPut {
        links: Links { policies, ..Links::default() },
        ..AclTokenPut::new(id(secret), Some(SecretId::Open(secret.into())))
    }
}

/// Of a token by its secret: in tests nobody is to guess one from the other.
fn id(secret: &str) -> AclId {
    let digits: String = secret.chars().filter(char::is_ascii_hexdigit).collect();
    AclId(u128::from_str_radix(&digits, 16).unwrap() ^ (1 << 127))
}

/// Tokens count, and whoever shows `SECRETS.management` may do everything.
pub(super) async fn enable(api: &Api) {
    tell(api, C::Enable { default: DefaultPolicy::Deny, created: 0 }).await;
    tell(api, C::Bootstrap(put(SECRETS.management, Vec::new()))).await;
}

/// A token with these rules alone.
pub(super) async fn token(api: &Api, secret: &str, rules: &str) {
    let policy = id(secret);
    let rules = PolicyPut::made(policy, &format!("of-{policy}"), rules);
    tell(api, C::PolicyPut(rules)).await;
    tell(api, C::TokenPut(put(secret, vec![policy]))).await;
}

/// n1 runs web and db; keys a and ab, and one that is closed in particular.
async fn house() -> Api {
    let api = Api::with_presence().await;
    for (path, body) in [
        ("/v1/agent/service/register", r#"{"Name":"web","Check":{"TTL":"60s"}}"#),
        ("/v1/agent/service/register", r#"{"Name":"db","Check":{"TTL":"60s"}}"#),
        ("/v1/catalog/register", r#"{"Node":"x","Address":"10.0.0.1"}"#),
        ("/v1/kv/a", "1"),
        ("/v1/kv/ab", "2"),
        ("/v1/kv/b", "3"),
    ] {
        assert_eq!(api.put(path, body).await.status, 200, "{path}");
    }
    enable(&api).await;
    api
}

async fn ask(api: &Api, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let headers = [("x-consul-token", token)];
    let answered = api.send_with(method, path, &headers, body.to_owned()).await;
    (answered.status, answered.body)
}

#[tokio::test]
async fn a_service_token_registers_its_service_and_no_other() {
    let api = house().await;
    token(&api, SECRETS.weak, "service \"web\" { policy = \"write\" }").await;
    let by = async |method: &str, path: &str, body: &str| {
        ask(&api, method, path, SECRETS.weak, body).await
    };
    let denied = |what: &str| {
        let text = format!("lacks permission '{what}'");
        move |answered: &(u16, String)| answered.0 == 403 && answered.1.contains(&text)
    };
    let own = r#"{"ID":"web-2","Name":"web","Port":1,"Check":{"CheckID":"c","TTL":"9s"}}"#;
    let steps: [(&str, &str, &str, Option<&str>); 12] = [
        ("PUT", "/v1/agent/service/register", own, None),
        ("PUT", "/v1/agent/check/pass/c", "", None),
        ("PUT", "/v1/agent/service/maintenance/web-2?enable=true", "", None),
        ("PUT", "/v1/agent/service/deregister/web-2", "", None),
        ("PUT", "/v1/agent/service/register", r#"{"Name":"other"}"#, Some("service:write")),
        // In the place of another service's instance.
        ("PUT", "/v1/agent/service/register", r#"{"ID":"db","Name":"web"}"#, Some("service:write")),
        ("PUT", "/v1/agent/service/deregister/db", "", Some("service:write")),
        ("PUT", "/v1/agent/check/pass/service:db", "", Some("service:write")),
        ("PUT", "/v1/agent/check/register", r#"{"Name":"n","TTL":"9s"}"#, Some("node:write")),
        (
            "PUT",
            "/v1/agent/check/register",
            r#"{"ID":"service:db","Name":"n","TTL":"9s","ServiceID":"web"}"#,
            Some("service:write"),
        ),
        ("PUT", "/v1/agent/maintenance?enable=true", "", Some("node:write")),
        (
            "PUT",
            "/v1/catalog/register",
            r#"{"Node":"x","Address":"10.0.0.2","Service":{"Service":"web"}}"#,
            Some("node:write"),
        ),
    ];
    for (method, path, body, lacks) in steps {
        let answered = by(method, path, body).await;
        match lacks {
            None => assert_eq!(answered, (200, String::new()), "{path} {body}"),
            Some(what) => assert!(denied(what)(&answered), "{path} {body}: {answered:?}"),
        }
    }
    // A node that stays as it is may be named.
    let body = r#"{"Node":"x","Address":"10.0.0.1","Service":{"Service":"web"}}"#;
    assert_eq!(by("PUT", "/v1/catalog/register", body).await, (200, "true".to_owned()));
    let unknown = by("PUT", "/v1/agent/check/pass/nope", "").await;
    assert_eq!(unknown.0, 404, "{unknown:?}");
}

#[tokio::test]
async fn rows_that_may_not_be_seen_are_left_out_and_who_shows_a_token_is_told() {
    let api = house().await;
    let rules = "service \"web\" { policy = \"read\" } node \"n1\" { policy = \"read\" } \
                 key_prefix \"a\" { policy = \"read\" }";
    token(&api, SECRETS.weak, rules).await;
    let ask = async |path: &str, token: &str| {
        let headers = [("x-consul-token", token)];
        let answered = api.send_with("GET", path, &headers, "").await;
        let told = answered.header("x-consul-results-filtered-by-acls") == "true";
        (answered.status, answered.body, told)
    };
    let count = |body: &str| match serde_json::from_str(body) {
        Ok(serde_json::Value::Array(rows)) => rows.len(),
        Ok(serde_json::Value::Object(rows)) => rows.len(),
        _ => 0,
    };
    // How many rows the weak token is shown, and whether something is left out; then all.
    let table = [
        ("/v1/catalog/nodes", 1, true, 2),
        ("/v1/catalog/services", 1, true, 3),
        ("/v1/catalog/service/web", 1, false, 1),
        ("/v1/catalog/service/db", 0, true, 1),
        ("/v1/health/service/web", 1, false, 1),
        ("/v1/health/service/db", 0, true, 1),
        ("/v1/health/checks/db", 0, true, 1),
        ("/v1/health/state/critical", 1, true, 2),
        ("/v1/agent/services", 1, true, 2),
        ("/v1/agent/checks", 1, true, 2),
        ("/v1/agent/members", 1, false, 1),
        ("/v1/kv/?recurse", 2, true, 3),
        ("/v1/kv/?keys", 2, true, 3),
        ("/v1/kv/a?recurse", 2, false, 2),
    ];
    for (path, seen, told, all) in table {
        let (status, body, hidden) = ask(path, SECRETS.weak).await;
        assert_eq!((status, count(&body), hidden), (200, seen, told), "{path}: {body}");
        let (status, body, hidden) = ask(path, SECRETS.management).await;
        assert_eq!((status, count(&body), hidden), (200, all, false), "{path}: {body}");
        // Who shows none is not told that there is more.
        let (status, body, hidden) = ask(path, "").await;
        let nothing =
            if path.starts_with("/v1/kv") && !path.ends_with("/?keys") { 404 } else { 200 };
        assert_eq!((status, count(&body), hidden), (nothing, 0, false), "{path}: {body}");
    }
    let (status, body, _) = ask("/v1/catalog/node/x", SECRETS.weak).await;
    assert_eq!((status, body.as_str()), (200, "null"));
}

#[tokio::test]
async fn who_may_write_tokens_manages_the_cluster_and_who_operates_it_does_not() {
    let api = house().await;
    let query = r#"{"Name":"q","Token":"secret","Service":{"Service":"web"}}"#;
    assert_eq!(ask(&api, "POST", "/v1/query", SECRETS.management, query).await.0, 200);
    token(&api, SECRETS.weak, "acl = \"write\"").await;
    let operator = "7e57ab1e-0000-4000-8000-000000000001";
    token(&api, operator, "operator = \"write\"").await;
    let by = async |token: &str, path: &str| ask(&api, "GET", path, token, "").await;
    let manager = async |path: &str| by(SECRETS.weak, path).await;
    assert_eq!(manager("/v1/snapshot").await.0, 200);
    let shown = manager("/v1/query").await.1;
    assert!(shown.contains(r#""Name":"q""#) && shown.contains(r#""Token":"secret""#), "{shown}");
    assert_eq!(manager("/v1/query/q/explain").await.0, 200);
    assert_eq!(manager("/v1/operator/raft/configuration").await.0, 403);
    assert_eq!(by(operator, "/v1/operator/raft/configuration").await.0, 200);
    assert_eq!(by(operator, "/v1/snapshot").await.0, 403);
    assert_eq!(by(operator, "/v1/query").await.1, "[]");
}

#[tokio::test]
async fn a_token_is_found_wherever_it_is_shown_and_the_first_place_counts() {
    let api = house().await;
    token(&api, SECRETS.weak, "key_prefix \"a\" { policy = \"read\" }").await;
    let (good, bad) = (SECRETS.weak, "99999999-2222-3333-4444-555555555555");
    let bearer = |token: &str| format!("Bearer {token}");
    type Way<'a> = (Option<&'a str>, Vec<(&'a str, String)>, u16);
    let ways: [Way<'_>; 8] = [
        (Some(good), vec![], 200),
        (None, vec![("x-consul-token", good.to_owned())], 200),
        (None, vec![("authorization", bearer(good))], 200),
        (None, vec![("authorization", format!("bearer {good}"))], 200),
        (None, vec![("authorization", format!("Basic {good}"))], 403),
        (Some(good), vec![("x-consul-token", bad.to_owned())], 200),
        (None, vec![("x-consul-token", good.to_owned()), ("authorization", bearer(bad))], 200),
        (Some(bad), vec![("x-consul-token", good.to_owned())], 403),
    ];
    for (query, headers, expected) in ways {
        let path = query.map_or("/v1/kv/a".to_owned(), |token| format!("/v1/kv/a?token={token}"));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answered = api.send_with("GET", &path, &headers, "").await;
        assert_eq!(answered.status, expected, "{path} {headers:?}");
    }
    // What the agent has counts for who shows none.
    api.cluster.set_own_token(crate::cluster::OwnToken::Default, good);
    assert_eq!(api.get("/v1/kv/a").await.status, 200);
    assert_eq!(api.get("/v1/kv/b").await.status, 403);
    let answered = api.send_with("GET", "/v1/kv/a", &[("x-consul-token", bad)], "").await;
    assert_eq!((answered.status, answered.body.as_str()), (403, "ACL not found"));
}

#[tokio::test]
async fn a_transaction_says_what_it_lacks_and_shows_what_may_be_seen() {
    let api = house().await;
    token(&api, SECRETS.weak, "key_prefix \"a\" { policy = \"read\" }").await;
    let txn = async |body: &str| ask(&api, "PUT", "/v1/txn", SECRETS.weak, body).await;
    let (status, body) = txn(r#"[{"KV":{"Verb":"get-tree","Key":"a"}}]"#).await;
    assert_eq!((status, body.matches("\"Key\"").count()), (200, 2), "{body}");
    for op in
        [r#"[{"KV":{"Verb":"get","Key":"b"}}]"#, r#"[{"Node":{"Verb":"get","Node":{"Node":"x"}}}]"#]
    {
        let (status, body) = txn(op).await;
        assert!(status == 200 && body.contains("\"Results\":[]"), "{op}: {status} {body}");
    }
    for (op, lacks) in [
        (r#"[{"KV":{"Verb":"set","Key":"a","Value":"eA=="}}]"#, "key:write"),
        (r#"[{"Node":{"Verb":"set","Node":{"Node":"y","Address":"1.2.3.4"}}}]"#, "node:write"),
        (
            r#"[{"Service":{"Verb":"set","Node":"x","Service":{"ID":"q","Service":"q"}}}]"#,
            "service:write",
        ),
        (
            r#"[{"Service":{"Verb":"delete","Node":"n1","Service":{"ID":"db","Service":"db"}}}]"#,
            "service:write",
        ),
    ] {
        let (status, body) = txn(op).await;
        assert!(status == 409 && body.contains(lacks), "{op}: {status} {body}");
    }
}

#[tokio::test]
async fn who_may_list_may_read_and_who_may_read_lists_what_it_may_read() {
    let api = house().await;
    let lists = "00000003-2222-3333-4444-555555555555";
    token(&api, SECRETS.weak, "key_prefix \"a\" { policy = \"read\" }").await;
    token(&api, lists, "key_prefix \"a\" { policy = \"list\" } key \"ab\" { policy = \"deny\" }")
        .await;
    for (secret, keys) in [(SECRETS.weak, "[\"a\",\"ab\"]"), (lists, "[\"a\"]")] {
        let by = async |method: &str, path: &str| ask(&api, method, path, secret, "v").await;
        assert_eq!(by("GET", "/v1/kv/a?raw").await, (200, "1".to_owned()));
        assert_eq!(by("GET", "/v1/kv/?keys").await, (200, keys.to_owned()));
        let (status, body) = by("GET", "/v1/kv/a?recurse").await;
        assert_eq!((status, body.matches("\"Key\"").count()), (200, keys.matches(',').count() + 1));
        for (method, path) in [("PUT", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("GET", "/v1/kv/b")] {
            let (status, body) = by(method, path).await;
            assert!(status == 403 && body.contains("lacks permission 'key:"), "{path}: {body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_no_longer_see_what_it_waits_for_is_not_shown_it() {
    let api = house().await;
    let rules = r#"acl = "read" session_prefix "" { policy = "read" }"#;
    token(&api, SECRETS.weak, rules).await;
    let mut waits = Vec::new();
    for path in ["/v1/acl/tokens", "/v1/acl/policies", "/v1/session/list"] {
        let headers = [("x-consul-token", SECRETS.weak)];
        let index = api.send_with("GET", path, &headers, "").await.index();
        let (api, path) = (api.clone(), format!("{path}?index={index}&wait=60s"));
        waits.push(tokio::spawn(async move { ask(&api, "GET", &path, SECRETS.weak, "").await }));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    tell(&api, C::TokenDelete(id(SECRETS.weak))).await;
    for wait in waits {
        let (status, body) = wait.await.expect("woken");
        assert_eq!((status, &*body), (403, "ACL not found"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_policies_or_roles_is_not_woken_by_a_token() {
    let api = house().await;
    let headers = [("x-consul-token", SECRETS.management)];
    let index = api.send_with("GET", "/v1/acl/policies", &headers, "").await.index();
    let mut waits = Vec::new();
    for path in ["/v1/acl/policies", "/v1/acl/tokens", "/v1/acl/roles"] {
        let (api, path) = (api.clone(), format!("{path}?index={index}&wait=60s"));
        let wait = async move { ask(&api, "GET", &path, SECRETS.management, "").await };
        waits.push(tokio::spawn(wait));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    tell(&api, C::TokenPut(put(SECRETS.weak, Vec::new()))).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let woken: Vec<bool> = waits.iter().map(|wait| wait.is_finished()).collect();
    assert_eq!(woken, [false, true, false]);
    tell(&api, C::PolicyPut(PolicyPut::made(id(SECRETS.weak), "new", ""))).await;
    let (status, body) = waits.remove(0).await.expect("woken");
    assert!(status == 200 && body.contains(r#""Name":"new""#), "{status} {body}");
}

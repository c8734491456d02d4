//! What users and roles close, and to whom.

use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::access::{AccountCommand as C, Kind, Permission};
use crate::model::KeyRange;
use crate::state::{Command, Outcome};

use super::Api;

pub(super) async fn change(api: &Api, command: C) {
    let outcome = api.cluster.propose(Command::Account(command)).await;
    assert_eq!(outcome, Ok(Outcome::Done));
}

pub(super) async fn user(api: &Api, name: &str, role: &str) {
    let hash = api.cluster.hash_password(Zeroizing::new("pw".to_owned())).await.unwrap();
    change(api, C::UserAdd { name: name.into(), hash: Some(hash) }).await;
    change(api, C::GrantRole { user: name.into(), role: role.into() }).await;
}

pub(super) async fn login(api: &Api, name: &str) -> String {
    api.cluster.login(name, Zeroizing::new("pw".to_owned())).await.unwrap()
}

/// Accounts count; bob may do everything below `app/`. With root's token and bob's.
async fn closed() -> (Api, String, String) {
    let api = Api::new();
    change(&api, C::RoleAdd("app".into())).await;
    let permission = Permission { kind: Kind::ReadWrite, range: KeyRange::prefix(&"app/".into()) };
    change(&api, C::GrantPermission { role: "app".into(), permission }).await;
    user(&api, "root", "root").await;
    user(&api, "bob", "app").await;
    for path in ["/v1/kv/app/1", "/v1/kv/secret"] {
        assert_eq!(api.put(path, "1").await.status, 200);
    }
    change(&api, C::Enable).await;
    let (root, bob) = (login(&api, "root").await, login(&api, "bob").await);
    (api, root, bob)
}

const DENIED: (u16, &str) = (403, "Permission denied");
#[tokio::test]
async fn keys_are_read_and_written_with_a_users_token_wherever_it_is_shown() {
    let (api, _, bob) = closed().await;
    let bearer = format!("Bearer {bob}");
    let ways: [(&str, Vec<(&str, &str)>); 3] = [
        ("", vec![("x-consul-token", &bob)]),
        ("", vec![("authorization", &bearer)]),
        (&format!("&token={bob}"), vec![("x-consul-token", "another")]),
    ];
    for (query, headers) in &ways {
        let send = async |method: &str, path: &str| {
            let path = format!("{path}{query}");
            let answered = api.send_with(method, &path, headers, "2").await;
            (answered.status, answered.body)
        };
        assert_eq!(send("PUT", "/v1/kv/app/1?x").await, (200, "true".to_owned()));
        assert_eq!(send("GET", "/v1/kv/app/1?raw").await, (200, "2".to_owned()));
        assert_eq!(send("GET", "/v1/kv/app/?keys").await, (200, r#"["app/1"]"#.to_owned()));
        let denied = (403, "Permission denied".to_owned());
        for (method, path) in [
            ("GET", "/v1/kv/secret?raw"),
            ("PUT", "/v1/kv/secret?x"),
            ("DELETE", "/v1/kv/secret?x"),
            // More than what may be seen, even where nothing more is there.
            ("GET", "/v1/kv/app?recurse"),
            ("GET", "/v1/kv/?keys"),
            ("DELETE", "/v1/kv/a?recurse"),
        ] {
            assert_eq!(send(method, path).await, denied, "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_told_what_it_may_no_longer_see() {
    let (api, _, bob) = closed().await;
    let index = api.send_with("GET", "/v1/kv/app/1", &[("x-consul-token", &bob)], "").await.index();
    let path = format!("/v1/kv/app/1?index={index}&wait=60s&token={bob}");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.get(&path).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    change(&api, C::RoleDelete("app".into())).await;
    let path = format!("/v1/kv/app/1?index={index}&wait=60s&token={bob}");
    let answered = timeout(Duration::from_secs(1), api.get(&path)).await.expect("at once");
    assert_eq!((answered.status, answered.body.as_str()), DENIED);
    let answered = waiting.await.unwrap();
    assert_eq!((answered.status, answered.body.as_str()), DENIED);
}

//! What users and roles close, and to whom.

use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::access::{AccountCommand as C, Area, Kind, Permission};
use crate::consul::routes::{Methods, ROUTES};
use crate::model::KeyRange;
use crate::state::{Command, Outcome};

use super::Api;

async fn change(api: &Api, command: C) {
    let outcome = api.cluster.propose(Command::Account(command)).await;
    assert_eq!(outcome, Ok(Outcome::Done));
}

async fn user(api: &Api, name: &str, role: &str) {
    let hash = api.cluster.hash_password(Zeroizing::new("pw".to_owned())).await.unwrap();
    change(api, C::UserAdd { name: name.into(), hash: Some(hash) }).await;
    change(api, C::GrantRole { user: name.into(), role: role.into() }).await;
}

async fn login(api: &Api, name: &str) -> String {
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
const DENIED_OPERATION: (u16, &str) =
    (409, r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Permission denied"}]}"#);

#[tokio::test]
async fn every_route_is_open_or_closed_as_its_area_says() {
    let (api, root, bob) = closed().await;
    for route in ROUTES {
        let methods: &[&str] = match route.methods {
            Methods::Get => &["GET"],
            Methods::Put => &["PUT"],
            Methods::GetPutDelete => &["GET", "PUT", "DELETE"],
        };
        let closed_to = |who: &str| match route.area {
            Area::Open | Area::Catalog => false,
            Area::Users => !matches!(who, "bob" | "root"),
            // Of what is asked for here.
            Area::Keys | Area::Operator => who != "root",
        };
        let path = format!("{}secret", route.path);
        let path = if route.path.ends_with('/') { path.as_str() } else { route.path };
        // A transaction is denied operation by operation.
        let (body, denied) = match route.path {
            "/v1/txn" => (r#"[{"KV":{"Verb":"set","Key":"secret"}}]"#, DENIED_OPERATION),
            _ => ("{}", DENIED),
        };
        for method in methods {
            for (who, token) in [("nobody", ""), ("bob", &bob), ("root", &root)] {
                let headers = [("x-consul-token", token)];
                let answered = api.send_with(method, path, &headers, body).await;
                let refused = (answered.status, answered.body.as_str()) == denied;
                assert_eq!(refused, closed_to(who), "{method} {path} by {who}: {answered:?}");
            }
            let headers = [("x-consul-token", "unknown")];
            let answered = api.send_with(method, path, &headers, body).await;
            let unknown = (answered.status, answered.body.as_str()) == (403, "ACL not found");
            assert_eq!(unknown, closed_to("unknown"), "{method} {path}: {answered:?}");
        }
    }
}

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

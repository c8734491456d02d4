//! The operator's pages against a cluster of one.

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cluster::Cluster;
use crate::identity::{JoinToken, Offline};
use crate::lifecycle::Life;
use crate::model::{Digest, NodeName, Role, limits};
use crate::net::http::Requests;
use crate::state::{Admission, Command, Outcome, TokenDef, Trust};
use crate::telemetry::Metrics;
use crate::web;

const ROOT: Digest = Digest([9; 32]);

pub(super) struct House {
    pages: Router,
    pub cluster: Cluster,
    offline: Offline,
}

pub(super) fn house() -> House {
    let offline = Offline::generate().expect("tokens");
    let def = |token: &&JoinToken| TokenDef {
        id: token.id(),
        role: token.role(),
        public: token.key().expect("a key").public().to_vec().into(),
    };
    let trust = Trust { root: Some(ROOT), offline: offline.all().iter().map(def).collect() };
    let cluster = Cluster::solo_trusting(NodeName::new("n1").expect("a name"), trust);
    let (life, metrics) = (Life::default(), Metrics::default());
    let parts = web::Parts {
        datacenter: "dc1".to_owned(),
        cluster: cluster.clone(),
        life,
        requests: Requests::new(&metrics),
        metrics,
        listeners: Vec::new(),
    };
    House { pages: web::router(parts), cluster, offline }
}

impl House {
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask_as("", method, path, body).await
    }

    pub async fn ask_as(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("x-consul-token", token);
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.pages.clone().oneshot(request).await.expect("an answer");
        let kept = path == "/status" || response.headers()["cache-control"] == "no-store";
        assert!(kept, "{method} {path}");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).trim().to_owned());
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }

    async fn admit(&self, name: &str, nonce: u128, token: &JoinToken) -> Outcome {
        let admission = Admission {
            name: NodeName::new(name).expect("a name"),
            nonce,
            role: token.role(),
            peer_addr: ([127, 0, 0, 1], 8301).into(),
            client_urls: Vec::new(),
            version: "1".to_owned(),
            level: crate::state::LEVEL,
            token: Some(token.id()),
        };
        self.cluster.propose(Command::Admit(admission)).await.expect("an outcome")
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_lets_in() {
    let house = house();
    let wish = r#"{"role": "relay", "ttl": "2h", "uses": 2}"#;
    let (status, made) = house.ask("POST", "/admin/join-token", wish).await;
    assert_eq!(status, 200, "{made}");
    let token = JoinToken::parse(made["token"].as_str().expect("a token")).expect("a token");
    assert_eq!((token.role(), token.digest()), (Role::Relay, ROOT));
    assert_eq!(made["id"], token.id().to_string());
    let row = house.cluster.snapshot().token(token.id()).cloned().expect("a row");
    assert_eq!(row.def.public, token.key().expect("a key").public());
    assert!(matches!(house.admit("r1", 50, &token).await, Outcome::Admitted { .. }));

    let (status, listed) = house.ask("GET", "/admin/join-tokens", "").await;
    assert_eq!(status, 200);
    let all = listed.as_array().expect("a list");
    assert_eq!(all.len(), 4);
    let ours = all.iter().find(|row| row["id"] == made["id"]).expect("it is listed");
    assert_eq!((&ours["role"], &ours["uses_left"]), (&json!("relay"), &json!(1)));
    assert!(ours["expires_in_s"].as_u64().is_some_and(|s| (7000..=7200).contains(&s)), "{ours}");
    let text = listed.to_string();
    for token in house.offline.all().into_iter().chain([&token]) {
        let revealed = token.reveal();
        let secret = revealed.rsplit('-').next().expect("a secret");
        assert!(!text.contains(secret) && !text.contains(&secret[..16]), "{text}");
    }
}

#[tokio::test]
async fn a_token_has_the_terms_of_its_role() {
    let house = house();
    let (_, edge) = house.ask("POST", "/admin/join-token", "").await;
    let terms =
        |made: &Value| [made["role"].clone(), made["expires_in_s"].clone(), made["uses"].clone()];
    assert_eq!(terms(&edge), [json!("edge"), Value::Null, Value::Null]);
    let (_, server) = house.ask("POST", "/admin/join-token", r#"{"role": "server"}"#).await;
    assert_eq!(terms(&server), [json!("server"), json!(86400), json!(1)]);
    for (bad, word) in [
        (r#"{"role": "voter"}"#, "voter"),
        (r#"{"ttl": "soon"}"#, "ttl"),
        (r#"{"ttl": "0s"}"#, "ttl"),
        (r#"{"ttl": "11years"}"#, "ttl"),
        (r#"{"uses": 0}"#, "uses"),
        (r#"{"uses": -1}"#, "body"),
        (r#"{"use": 1}"#, "use"),
        ("[", "body"),
    ] {
        let (status, said) = house.ask("POST", "/admin/join-token", bad).await;
        assert_eq!(status, 400, "{bad}: {said}");
        assert!(said.as_str().is_some_and(|said| said.contains(word)), "{bad}: {said}");
    }
}

#[tokio::test]
async fn retiring_the_founding_token_ends_its_key_and_kin() {
    let house = house();
    let (_, made) = house.ask("POST", "/admin/join-token", "").await;
    let own = format!("/admin/join-tokens/{}", made["id"].as_str().expect("an id"));
    let (status, said) = house.ask("DELETE", &own, "").await;
    assert_eq!((status, &said["founding_key_ended"]), (200, &json!(false)));
    assert_eq!(house.ask("DELETE", &own, "").await.0, 404);
    let whole = format!("/admin/join-tokens/{}", *house.offline.server.reveal());
    let (status, said) = house.ask("DELETE", &whole, "").await;
    assert_eq!(status, 400);
    assert!(!said.to_string().contains(&whole[whole.len() - 16..]), "{said}");
    let founding = format!("/admin/join-tokens/{}", house.offline.server.id());
    let (status, said) = house.ask("DELETE", &founding, "").await;
    assert_eq!((status, &said["founding_key_ended"]), (200, &json!(true)));
    assert_eq!(house.ask("GET", "/admin/join-tokens", "").await.1, json!([]));
    assert!(matches!(house.admit("e1", 51, &house.offline.edge).await, Outcome::Refused(_)));
}

#[tokio::test]
async fn servers_are_counted_and_the_last_stays() {
    let house = house();
    let (status, page) = house.ask("GET", "/admin/servers", "").await;
    assert_eq!((status, &page["voters"]), (200, &json!(3)));
    assert_eq!(page["servers"][0]["raft"], "leader");
    let (status, said) = house.ask("POST", "/admin/servers/set", r#"{"voters": 5}"#).await;
    let agreed = json!({"voters": 5, "standbys": 1, "quota": limits::QUOTA, "history": 3600});
    assert_eq!((status, said), (200, agreed));
    assert_eq!(house.cluster.snapshot().identity().settings.voters, 5);
    let (status, said) =
        house.ask("POST", "/admin/servers/set", r#"{"quota": 2097152, "history": 90}"#).await;
    let agreed = json!({"voters": 5, "standbys": 1, "quota": 2097152, "history": 90});
    assert_eq!((status, said), (200, agreed));
    let bad = [
        r#"{"voters": 0}"#,
        r#"{"voters": 60, "standbys": 5}"#,
        r#"{"voter": 1}"#,
        r#"{"quota": 1}"#,
        r#"{"history": 59}"#,
    ];
    for bad in bad {
        assert_eq!(house.ask("POST", "/admin/servers/set", bad).await.0, 400, "{bad}");
    }
    let settings = house.cluster.snapshot().identity().settings.clone();
    assert_eq!((settings.quota, settings.history.as_secs()), (2097152, 90));
    for server in ["1", "n1"] {
        let (status, said) = house.ask("DELETE", &format!("/admin/servers/{server}"), "").await;
        assert_eq!(status, 409);
        assert!(said.as_str().is_some_and(|said| said.contains("the only one")), "{said}");
    }
    assert_eq!(house.ask("DELETE", "/admin/servers/nobody", "").await.0, 404);
    let to = r#"{"id": "nobody"}"#;
    assert_eq!(house.ask("POST", "/admin/servers/transfer-leader", to).await.0, 404);
    assert_eq!(house.ask("POST", "/admin/servers/transfer-leader", "").await.0, 409);
}

#[tokio::test]
async fn an_agent_is_put_out_by_name() {
    let house = house();
    let edge = house.offline.edge.clone();
    let Outcome::Admitted { id, .. } = house.admit("e1", 60, &edge).await else {
        panic!("it is let in");
    };
    let (status, said) = house.ask("POST", "/admin/revoke/E1", "").await;
    assert_eq!((status, said), (200, json!({"revoked": id.0})));
    assert!(house.cluster.snapshot().member(id).is_none());
    assert_eq!(house.ask("POST", "/admin/revoke/e1", "").await.0, 404);
    let (status, said) = house.ask("POST", "/admin/revoke/n1", "").await;
    assert_eq!(status, 409, "{said}");
}

//! Walks over every route with everybody: users count, or tokens, or both.

use crate::access::{AccountCommand, Area, Demand, Kind, Level, Of, Permission, Resource};
use crate::consul::routes::{Methods, ROUTES, Route};
use crate::model::KeyRange;

use super::access::{change, login, user};
use super::acl::{SECRETS, enable, token};
use super::{Answered, Api};

/// Which side asks who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Users,
    Tokens,
    Both,
}

impl Side {
    fn has_users(self) -> bool {
        self != Side::Tokens
    }

    fn has_tokens(self) -> bool {
        self != Side::Users
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    /// Shows what was never given out.
    Unknown,
    WeakUser,
    RootUser,
    WeakToken,
    Management,
}

const EVERYBODY: [Who; 6] =
    [Who::Nobody, Who::Unknown, Who::WeakUser, Who::WeakToken, Who::RootUser, Who::Management];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Let,
    Denied,
    /// What it shows is worth nothing.
    Unknown,
}

/// Whether what somebody shows is worth something.
fn known(side: Side, who: Who) -> bool {
    match who {
        Who::Nobody => true,
        Who::Unknown => false,
        Who::WeakUser | Who::RootUser => side.has_users(),
        Who::WeakToken | Who::Management => side.has_tokens(),
    }
}

/// What those paths say that tell almost everybody no, each with a reason of its own.
fn told_apart(path: &str, who: Who) -> Option<Verdict> {
    match (path, who) {
        // The first token has been made.
        ("/v1/acl/bootstrap", _) => Some(Verdict::Denied),
        // There is nothing to log in with, and nobody to be let out.
        ("/v1/acl/login", _) => Some(Verdict::Unknown),
        ("/v1/acl/logout", _) => Some(Verdict::Denied),
        ("/v1/acl/token/self", Who::WeakToken | Who::Management) => Some(Verdict::Let),
        // Others have no token of their own.
        ("/v1/acl/token/self", _) => Some(Verdict::Unknown),
        _ => None,
    }
}

/// What KEYSPACE has to say: users close keys and operator, tokens close all three areas; who may
/// do everything on the side that counts may do everything.
fn expected(side: Side, who: Who, demand: Demand) -> Verdict {
    if demand == Demand::Open {
        return Verdict::Let;
    }
    let known = known(side, who);
    let all_powerful = known && matches!(who, Who::RootUser | Who::Management);
    if all_powerful {
        return Verdict::Let;
    }
    let (area, rows) = match demand {
        Demand::Open | Demand::Known => (Area::Catalog, true),
        Demand::Rows(resource) => (Area::of(resource, Level::Read), true),
        Demand::Takes(resource, level, _) => (Area::of(resource, level), false),
        Demand::Management => (Area::Operator, false),
    };
    let closed_by_users = side.has_users() && area != Area::Catalog;
    if !known {
        let closed = side.has_tokens() || closed_by_users;
        return if closed { Verdict::Unknown } else { Verdict::Let };
    }
    let is_user = matches!(who, Who::WeakUser);
    let holds = matches!(who, Who::WeakToken);
    // Rows are left out one by one where tokens count, and to users all or none.
    let closed = match rows {
        true => closed_by_users && !is_user && !holds,
        false => closed_by_users || side.has_tokens(),
    };
    // To be a user is enough for a session that holds nothing.
    let session = matches!(demand, Demand::Takes(Resource::Session, ..)) && is_user;
    if closed && !session { Verdict::Denied } else { Verdict::Let }
}

fn verdict(answered: &Answered) -> Verdict {
    match (answered.status, answered.body.as_str()) {
        (403, "ACL not found") => Verdict::Unknown,
        (403 | 409, text) if text.contains("Permission denied") => Verdict::Denied,
        (500, "Reading keyring denied by ACLs") => Verdict::Denied,
        _ => Verdict::Let,
    }
}

/// Everything has a thing named `secret`, which only who may do everything may touch.
struct House {
    api: Api,
    users: Option<(String, String)>,
    master: String,
}

impl House {
    async fn new(side: Side) -> House {
        let api = Api::with_presence().await;
        let mut users = None;
        if side.has_users() {
            change(&api, AccountCommand::RoleAdd("app".into())).await;
            let range = KeyRange::prefix(&"app/".into());
            let permission = Permission { kind: Kind::ReadWrite, range };
            let grant = AccountCommand::GrantPermission { role: "app".into(), permission };
            change(&api, grant).await;
            user(&api, "root", "root").await;
            user(&api, "bob", "app").await;
        }
        if side.has_tokens() {
            enable(&api).await;
            let rules = "key_prefix \"app/\" { policy = \"write\" } service \"weak\" { policy = \
                         \"write\" } node \"weak\" { policy = \"write\" }";
            token(&api, SECRETS.weak, rules).await;
        }
        if side.has_users() {
            change(&api, AccountCommand::Enable).await;
            users = Some((login(&api, "root").await, login(&api, "bob").await));
        }
        let root = users.as_ref().map(|(root, _)| root.clone());
        let master = root.unwrap_or_else(|| SECRETS.management.to_owned());
        House { api, users, master }
    }

    fn token(&self, who: Who) -> &str {
        match (who, &self.users) {
            (Who::Nobody, _) => "",
            (Who::Unknown, _) => "99999999-2222-3333-4444-555555555555",
            (Who::RootUser, Some((root, _))) => root,
            (Who::WeakUser, Some((_, bob))) => bob,
            (Who::RootUser | Who::WeakUser, None) => "not.given-out",
            (Who::WeakToken, _) => SECRETS.weak,
            (Who::Management, _) => SECRETS.management,
        }
    }

    async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> Answered {
        let headers = [("x-consul-token", token)];
        self.api.send_with(method, path, &headers, body.to_owned()).await
    }

    /// The last caller may have taken away what there was.
    async fn furnish(&self) -> String {
        let put = async |path: &str, body: &str| {
            let answered = self.send("PUT", path, &self.master, body).await;
            assert_eq!(answered.status, 200, "{path}: {answered:?}");
            answered
        };
        put("/v1/kv/secret", "1").await;
        put("/v1/catalog/register", r#"{"Node":"secret","Address":"10.0.0.9"}"#).await;
        let check = r#"{"ID":"secret","Name":"secret","Check":{"CheckID":"secret","TTL":"60s"}}"#;
        put("/v1/agent/service/register", check).await;
        let made = put("/v1/session/create", "{}").await.json();
        made["ID"].as_str().unwrap().to_owned()
    }
}

/// A request that concerns what is secret. One that is judged by what is sent needs its example.
fn example(route: &Route, demand: Demand, session: &str) -> (String, String) {
    let named = |name: &str| match route.path.ends_with('/') {
        true => format!("{}{name}", route.path),
        false => route.path.to_owned(),
    };
    let (path, body) = match route.path {
        "/v1/kv/" | "/v1/agent/service/" | "/v1/agent/health/service/id/" => (named("secret"), "1"),
        "/v1/agent/check/pass/"
        | "/v1/agent/check/warn/"
        | "/v1/agent/check/fail/"
        | "/v1/agent/check/deregister/"
        | "/v1/agent/service/deregister/" => (named("secret"), ""),
        "/v1/agent/check/update/" => (named("secret"), r#"{"Status":"passing"}"#),
        "/v1/agent/check/register" => (named(""), r#"{"Name":"c","TTL":"10s"}"#),
        "/v1/agent/service/register" => (named(""), r#"{"Name":"secret"}"#),
        "/v1/agent/service/maintenance/" => (named("secret?enable=true"), ""),
        "/v1/catalog/register" => (named(""), r#"{"Node":"secret","Address":"10.0.0.8"}"#),
        "/v1/catalog/deregister" => (named(""), r#"{"Node":"secret"}"#),
        "/v1/watch" => ("/v1/watch?key=secret&wait=1ms".to_owned(), ""),
        // What is not there is told in the words for a token that is worth nothing.
        "/v1/acl/policy/" => (named("00000000-0000-0000-0000-000000000001"), "{}"),
        "/v1/acl/policy/name/" => (named("global-management"), ""),
        "/v1/acl/token/" => (named("00000000-0000-0000-0000-000000000002"), "{}"),
        "/v1/txn" => (named(""), r#"[{"KV":{"Verb":"set","Key":"secret"}}]"#),
        "/v1/session/create" => (named(""), "{}"),
        "/v1/session/destroy/" | "/v1/session/renew/" => (named(session), ""),
        "/v1/session/info/" => (named(session), ""),
        "/v1/query" => (named(""), r#"{"Name":"secret","Service":{"Service":"secret"}}"#),
        "/v1/query/" => (named(session), r#"{"Name":"secret","Service":{"Service":"secret"}}"#),
        "/v1/coordinate/update" => (named(""), r#"{"Node":"secret","Coord":{"Vec":[0]}}"#),
        path => {
            let by_message = matches!(demand, Demand::Takes(_, _, Of::Message));
            assert!(!by_message, "{path} is judged by what is sent: give an example of it here");
            (named("secret"), "{}")
        }
    };
    (path, body.to_owned())
}

async fn walk(side: Side) {
    let house = House::new(side).await;
    for route in ROUTES {
        let methods: &[&str] = match route.methods {
            Methods::Get => &["GET"],
            Methods::Put => &["PUT"],
            Methods::Post => &["POST"],
            Methods::Delete => &["DELETE"],
            Methods::GetPut => &["GET", "PUT"],
            Methods::PutPost => &["PUT", "POST"],
            Methods::GetPost => &["GET", "POST"],
            Methods::GetDelete => &["GET", "DELETE"],
            Methods::Every => &["GET", "PUT", "POST", "DELETE"],
            Methods::GetPutDelete => &["GET", "PUT", "DELETE"],
        };
        for method in methods {
            let demand = route.demand(&method.parse().unwrap());
            for who in EVERYBODY {
                let session = house.furnish().await;
                let (path, body) = example(route, demand, &session);
                let answered = house.send(method, &path, house.token(who), &body).await;
                let expected = match (demand, known(side, who)) {
                    (Demand::Known, true) if side.has_tokens() => told_apart(route.path, who),
                    _ => None,
                };
                let expected = expected.unwrap_or(match demand {
                    // What there is of tokens is said to be off before anybody is looked at.
                    Demand::Takes(Resource::Acl, ..) if !side.has_tokens() => Verdict::Let,
                    demand => self::expected(side, who, demand),
                });
                assert_eq!(
                    verdict(&answered),
                    expected,
                    "{side:?}: {method} {path} by {who:?}, {demand:?}: {answered:?}"
                );
                let policy = answered.header("x-consul-default-acl-policy");
                assert_eq!(policy, if side.has_tokens() { "deny" } else { "allow" });
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_users_every_route_is_open_or_closed_as_the_table_says() {
    walk(Side::Users).await;
}

#[tokio::test(start_paused = true)]
async fn with_tokens_every_route_is_open_or_closed_as_the_table_says() {
    walk(Side::Tokens).await;
}

#[tokio::test(start_paused = true)]
async fn with_both_every_route_is_open_or_closed_as_the_table_says() {
    walk(Side::Both).await;
}

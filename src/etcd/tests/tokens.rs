//! Every call by everybody while tokens count, alone or beside users.

use serde_json::json;

use crate::access::{
    AclCommand as C, AclTokenPut, Call, DefaultPolicy, Links, MANAGEMENT, PolicyPut, Right,
    SecretId,
};
use crate::cluster::Cluster;
use crate::etcd::Switch;
use crate::etcd::gateway::PLACES;
use crate::model::{AclId, NodeName};
use crate::state::{Command, Outcome};

use super::api_of;
use super::auth::{DENIED, NOBODY, WORTHLESS, code, done, first, furnish, login, refusal, row};

const MANAGER: &str = "00000001-2222-3333-4444-555555555555";
/// May do everything below `app/`, as bob may.
const APP: &str = "00000002-2222-3333-4444-555555555555";
const NEVER_GIVEN_OUT: [&str; 2] = ["x.y", "99999999-2222-3333-4444-555555555555"];

async fn tell(cluster: &Cluster, command: C) {
    let outcome = cluster.propose(Command::Acl(command)).await;
    assert!(matches!(outcome, Ok(Outcome::Done | Outcome::Acl(_))), "{outcome:?}");
}

fn put(accessor: u128, secret: &str, policy: AclId) -> C {
    C::TokenPut(AclTokenPut {
        links: Links { policies: vec![policy], ..Links::default() },
        ..AclTokenPut::new(AclId(accessor), Some(SecretId::Open(secret.into())))
    })
}

/// What users and roles have their tests in, where tokens count.
async fn house() -> Switch {
    let cluster = Cluster::solo(NodeName::new("n1").unwrap());
    let api = api_of(cluster.clone());
    furnish(&api).await;
    tell(&cluster, C::Enable { default: DefaultPolicy::Deny, created: 0 }).await;
    let policy = PolicyPut::made(AclId(70), "app", "key_prefix \"app/\" { policy = \"write\" }");
    tell(&cluster, C::PolicyPut(policy)).await;
    tell(&cluster, put(71, MANAGER, MANAGEMENT)).await;
    tell(&cluster, put(72, APP, AclId(70))).await;
    api
}

/// A token is no user, and so has no user and no role of its own to look at.
fn is_of_users(call: Call) -> bool {
    matches!(call, Call::UserGet | Call::RoleGet)
}

struct Callers<'a> {
    nobody: &'static str,
    users: Vec<&'a str>,
    masters: Vec<&'a str>,
}

async fn walk(api: &Switch, call: Call, callers: &Callers<'_>) {
    let Some((path, _)) = PLACES.iter().find(|(_, other)| *other == call) else {
        return walk_rpc(api, call, callers).await;
    };
    let row = row(call);
    let says = async |token: &str, body| refusal(&first(api, token, path, body).await.1);
    for body in row.may_not.iter().chain(&row.may) {
        assert_eq!(says("", body).await, Some(callers.nobody), "{call:?} {body} by nobody");
        for token in NEVER_GIVEN_OUT {
            assert_eq!(says(token, body).await, Some(WORTHLESS), "{call:?} {body} by {token}");
        }
        if is_of_users(call) {
            assert_eq!(says(APP, body).await, Some(DENIED), "{call:?} {body} by a token");
        }
    }
    for token in [APP].iter().chain(&callers.users) {
        if let Some(body) = &row.may_not {
            assert_eq!(says(token, body).await, Some(DENIED), "{call:?} {body} by {token}");
        }
        if let Some(body) = row.may.as_ref().filter(|_| !is_of_users(call)) {
            assert_eq!(says(token, body).await, None, "{call:?} {body} by {token}");
        }
    }
    for master in &callers.masters {
        // An election that nobody won tells nobody anything.
        if let Some(body) = row.may_not.as_ref().filter(|_| call != Call::Observe) {
            assert_eq!(says(master, body).await, None, "{call:?} {body} by {master}");
        }
    }
}

/// Over gRPC alone.
async fn walk_rpc(api: &Switch, call: Call, callers: &Callers<'_>) {
    let denied = ["7", "3", "2"];
    for token in [""].iter().chain([&APP]).chain(&callers.users) {
        let code = code(api, call, token, None).await;
        let closed = call.right() == Right::Root || token.is_empty();
        assert_eq!(denied.contains(&&*code), closed && code != "12", "{call:?} by {token}: {code}");
    }
    for master in &callers.masters {
        let code = code(api, call, master, None).await;
        assert!(!["7", "16"].contains(&&*code), "{call:?} by {master}: {code}");
    }
}

/// What turns a side on or off comes last.
fn calls() -> impl Iterator<Item = Call> {
    let switches = |call: &Call| matches!(call, Call::AuthEnable | Call::AuthDisable);
    let (last, calls): (Vec<Call>, Vec<Call>) = Call::ALL.iter().partition(|call| switches(call));
    calls.into_iter().chain(last).filter(|call| *call != Call::Authenticate)
}

#[tokio::test]
async fn with_tokens_every_call_takes_its_right() {
    let api = house().await;
    let callers = Callers { nobody: DENIED, users: Vec::new(), masters: vec![MANAGER] };
    for call in calls() {
        walk(&api, call, &callers).await;
        if call == Call::AuthEnable {
            done(&api, MANAGER, "auth/disable", json!({})).await;
        }
    }
}

#[tokio::test]
async fn with_tokens_and_users_every_call_takes_its_right_on_either_side() {
    let api = house().await;
    done(&api, MANAGER, "auth/enable", json!({})).await;
    let (root, bob) = (login(&api, "root", "rpw").await, login(&api, "bob", "bpw").await);
    let callers = Callers { nobody: NOBODY, users: vec![&bob], masters: vec![&root, MANAGER] };
    for call in calls().filter(|call| *call != Call::AuthDisable) {
        walk(&api, call, &callers).await;
    }
    walk(&api, Call::AuthDisable, &Callers { masters: vec![MANAGER], ..callers }).await;
}

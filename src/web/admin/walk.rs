//! Every page for operators by everybody: while users count, or tokens, or both.

use zeroize::Zeroizing;

use crate::access::{
    AccountCommand, AclCommand, AclTokenPut, DefaultPolicy, Links, MANAGEMENT, PolicyPut, SecretId,
};
use crate::model::AclId;
use crate::state::{Command, Outcome};

use super::pages;
use super::tests::{House, house};

/// Each with its methods, and what is sent to it.
const PAGES: [(&str, &str, &str); 12] = [
    ("/admin/snapshot", "GET PUT", ""),
    ("/admin/join-token", "POST", "{}"),
    ("/admin/join-tokens", "GET", ""),
    ("/admin/join-tokens/{id}", "DELETE", ""),
    ("/admin/servers", "GET", ""),
    ("/admin/servers/transfer-leader", "POST", "{}"),
    ("/admin/servers/set", "POST", "{}"),
    ("/admin/servers/{id}", "DELETE", ""),
    ("/admin/revoke/{node}", "POST", ""),
    ("/admin/acl", "GET", ""),
    // Neither turns anything off: those who come later are to be asked, too.
    ("/admin/acl", "POST", "{\"enabled\": \"perhaps\"}"),
    ("/admin/acl", "POST", "["),
];

const MANAGER: &str = "00000001-2222-3333-4444-555555555555";
const WEAK: &str = "00000002-2222-3333-4444-555555555555";

impl House {
    async fn tell(&self, command: Command) {
        let outcome = self.cluster.propose(command).await;
        assert!(matches!(outcome, Ok(Outcome::Done | Outcome::Acl(_))), "{outcome:?}");
    }

    /// Root and bob, who may log in from here on.
    async fn with_users(&self) -> (String, String) {
        for name in ["root", "bob"] {
            let hash = self.cluster.hash_password(Zeroizing::new("pw".to_owned())).await.unwrap();
            let add = AccountCommand::UserAdd { name: name.into(), hash: Some(hash) };
            self.tell(Command::Account(add)).await;
        }
        let grant = AccountCommand::GrantRole { user: "root".into(), role: "root".into() };
        self.tell(Command::Account(grant)).await;
        self.tell(Command::Account(AccountCommand::Enable)).await;
        let login = async |name: &str| {
            self.cluster.login(name, Zeroizing::new("pw".to_owned())).await.expect("a token")
        };
        (login("root").await, login("bob").await)
    }

    /// One token for everything, and one that may write keys, nodes and services.
    async fn with_tokens(&self) {
        let put = |accessor: u128, secret: &str, policy| {
            Command::Acl(AclCommand::TokenPut(AclTokenPut {
                links: Links { policies: vec![policy], ..Links::default() },
                ..AclTokenPut::new(AclId(accessor), Some(SecretId::Open(secret.into())))
            }))
        };
        let enable = AclCommand::Enable { default: DefaultPolicy::Deny, created: 0 };
        self.tell(Command::Acl(enable)).await;
        let rules = "key_prefix \"\" { policy = \"write\" } node_prefix \"\" { policy = \"write\" } \
                     service_prefix \"\" { policy = \"write\" } operator = \"write\"";
        let policy = PolicyPut::made(AclId(70), "much", rules);
        self.tell(Command::Acl(AclCommand::PolicyPut(policy))).await;
        self.tell(put(71, MANAGER, MANAGEMENT)).await;
        self.tell(put(72, WEAK, AclId(70))).await;
    }

    /// Who may not is told so on every page, and who may is told something else.
    async fn walk(&self, refused: &[(&str, &str)], masters: &[&str]) {
        let mut walked: Vec<&str> = PAGES.iter().map(|(path, ..)| *path).collect();
        walked.dedup();
        let served: Vec<&str> = pages().iter().map(|(path, _)| *path).collect();
        assert_eq!(walked, served, "each page has its line here");
        for (path, methods, body) in PAGES {
            let path = path.replace("{id}", "9").replace("{node}", "ghost");
            for method in methods.split(' ') {
                for (token, why) in refused {
                    let (status, said) = self.ask_as(token, method, &path, body).await;
                    let text = said.as_str().unwrap_or_default();
                    let denied = status == 403 && text.starts_with(why);
                    assert!(denied, "{method} {path} with {token:?}: {status} {said}");
                }
                for token in masters {
                    let (status, said) = self.ask_as(token, method, &path, body).await;
                    assert_ne!(status, 403, "{method} {path} with {token:?}: {said}");
                }
            }
        }
    }
}

const DENIED: &str = "Permission denied";
const UNKNOWN: &str = "ACL not found";

#[tokio::test]
async fn while_users_count_operators_are_who_has_the_role_root() {
    let house = house();
    let (root, bob) = house.with_users().await;
    house.walk(&[("", DENIED), (&bob, DENIED), ("x", UNKNOWN), ("x.y", UNKNOWN)], &[&root]).await;
    let shown = house.ask("GET", &format!("/admin/servers?token={root}"), "").await;
    assert_eq!(shown.0, 200, "{shown:?}");
    assert_eq!(house.ask("GET", "/status", "").await.0, 200);
}

#[tokio::test]
async fn while_tokens_count_operators_are_who_may_do_everything() {
    let house = house();
    house.with_tokens().await;
    house.walk(&[("", DENIED), (WEAK, DENIED), ("x", UNKNOWN), ("x.y", UNKNOWN)], &[MANAGER]).await;
}

#[tokio::test]
async fn while_both_count_operators_are_who_may_do_everything_on_either_side() {
    let house = house();
    house.with_tokens().await;
    let (root, bob) = house.with_users().await;
    let refused = [("", DENIED), (WEAK, DENIED), (&*bob, DENIED), ("x", UNKNOWN), ("x.y", UNKNOWN)];
    house.walk(&refused, &[&root, MANAGER]).await;
}

#[tokio::test]
async fn while_tokens_count_the_status_shows_what_may_be_seen() {
    let house = house();
    let names = |page: &serde_json::Value| page["members"].as_array().unwrap().len();
    let page = house.ask_as("", "GET", "/status", "").await.1;
    assert!(names(&page) == 1 && page["board"].is_array(), "{page}");
    house.with_tokens().await;
    let agent = |token: &'static str| house.ask_as(token, "GET", "/status", "");
    let (status, page) = agent("").await;
    assert_eq!((status, names(&page), &page["node"]), (200, 0, &"n1".into()));
    assert!(page["board"].is_null() && page["listeners"].is_null(), "{page}");
    let page = agent("not-given-out").await.1;
    assert_eq!(names(&page), 0);
    let page = agent(WEAK).await.1;
    assert!(names(&page) == 1 && page["board"].is_null(), "{page}");
    let page = agent(MANAGER).await.1;
    assert!(names(&page) == 1 && page["board"].is_array(), "{page}");
}

//! What an agent knows of tokens, and how many passwords it takes at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::access::{AccountCommand, AclCommand, AclTokenPut, Caller, SecretId};
use crate::cluster::logins::{Logins, Worth};
use crate::cluster::{Cluster, Credential, LoginError};
use crate::identity;
use crate::model::{AclId, NodeName, limits};
use crate::state::{Command, KvCommand};

fn bob() -> Caller {
    Caller::User { name: "bob".into(), generation: Some(1) }
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_a_server_said_of_a_token_holds_until_it_ends_and_bounds_hold() {
    let logins = Logins::new(None);
    let left = Duration::from_secs(300);
    let token = |n: usize| -> Arc<str> { format!("token {n}").into() };
    logins.remember(&token(0), &Worth { caller: bob(), left });
    assert_eq!(logins.remembered("token 0"), Some(bob()));
    assert_eq!(logins.remembered("token 1"), None);
    tokio::time::advance(left - Duration::from_millis(1)).await;
    assert_eq!(logins.remembered("token 0"), Some(bob()));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(logins.remembered("token 0"), None);
    // One more than there is room for: the one that ends first goes.
    for n in 0..=limits::TOKENS_KNOWN {
        let left = left + Duration::from_secs(n as u64);
        logins.remember(&token(n), &Worth { caller: bob(), left });
    }
    let known = (0..=limits::TOKENS_KNOWN).filter(|n| logins.remembered(&token(*n)).is_some());
    assert_eq!(known.collect::<Vec<_>>(), (1..=limits::TOKENS_KNOWN).collect::<Vec<_>>());
}

#[test]
fn no_token_enters_the_log() {
    let logins = Logins::new(None);
    let key = Bytes::from_static(b"k");
    let command = Command::Kv(KvCommand::Delete { key, cas: None });
    let resolved = |caller: Caller| match logins.resolve(command.clone().by(caller)) {
        Command::For(wish) => wish.caller.clone(),
        other => panic!("{other:?}"),
    };
    // What nobody signed may be the secret of a token: the state knows.
    let holder = Caller::Holder(identity::digest_of_secret("x.y"));
    assert_eq!(resolved(Caller::Bearer("x.y".into())), holder);
    assert_eq!(resolved(Caller::Bearer("anonymous".into())), Caller::Nobody);
    assert_eq!(resolved(Caller::Nobody), Caller::Nobody);
    assert_eq!(resolved(bob()), bob());
    assert_eq!(logins.resolve(command.clone()), command);
    assert!(!format!("{:?}", Caller::Bearer("hidden".into())).contains("hidden"));
    assert!(!format!("{:?}", Credential::Token("hidden".into())).contains("hidden"));
}

#[test]
fn a_secret_is_sealed_before_it_is_logged_and_opened_again() {
    let logins = Logins::new(None);
    let put = |secret| AclTokenPut::new(AclId(1), Some(secret));
    let open = put(SecretId::Open("b0d5-1".into()));
    let commands = [
        AclCommand::TokenPut(open.clone()),
        AclCommand::Bootstrap(open.clone()),
        AclCommand::Reset(open),
    ];
    for command in commands.map(Command::Acl) {
        for command in [command.clone(), command.by(Caller::Nobody)] {
            let sealed = logins.resolve(command);
            let bytes = postcard::to_stdvec(&sealed).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"b0d5-1"));
            let inner = match &sealed {
                Command::For(wish) => &wish.command,
                command => command,
            };
            let Command::Acl(
                AclCommand::TokenPut(put) | AclCommand::Bootstrap(put) | AclCommand::Reset(put),
            ) = inner
            else {
                panic!("{inner:?}");
            };
            let Some(SecretId::Sealed { digest, sealed: secret }) = &put.secret else {
                panic!("{put:?}");
            };
            assert_eq!(*digest, identity::digest_of_secret("b0d5-1"));
            assert_eq!(logins.open(secret).as_deref().map(String::as_str), Some("b0d5-1"));
            assert_eq!(logins.resolve(sealed.clone()), sealed, "once is enough");
        }
    }
}

#[tokio::test]
async fn more_passwords_than_can_wait_are_turned_away() {
    let cluster = Cluster::solo(NodeName::new("n1").unwrap());
    let hash = cluster.hash_password(secret("pw")).await.unwrap();
    let add = |name: &str| AccountCommand::UserAdd { name: name.into(), hash: Some(hash.clone()) };
    let root = AccountCommand::GrantRole { user: "root".into(), role: "root".into() };
    for command in [add("root"), root, AccountCommand::Enable] {
        cluster.propose(Command::Account(command)).await.unwrap();
    }
    let at_once = limits::HASHES_AT_ONCE + limits::HASHES_WAITING;
    let tries = (0..at_once + 3).map(|_| cluster.login("root", secret("wrong")));
    let answers = futures::future::join_all(tries).await;
    let busy = answers.iter().filter(|answer| **answer == Err(LoginError::Busy)).count();
    let wrong = answers.iter().filter(|answer| **answer == Err(LoginError::Wrong)).count();
    assert_eq!((busy, wrong), (3, at_once));
    assert!(cluster.login("root", secret("pw")).await.is_ok(), "there is room again");
    let long = "p".repeat(limits::PASSWORD + 1);
    assert_eq!(cluster.login("root", secret(&long)).await, Err(LoginError::Wrong));
    let refused = cluster.hash_password(secret(&long)).await;
    assert!(matches!(refused, Err(LoginError::TooLong { .. })), "{refused:?}");
}

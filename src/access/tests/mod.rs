//! The authorizer and the changes of accounts, by tables.

mod acl;

use std::sync::Arc;

use crate::model::{KeyRange, Stamp};

use super::{
    AccountCommand as C, AccountError as E, Accounts, Acl, Caller, Denied, Gate, Kind, Need,
    PasswordHash, Permission,
};

/// Where users alone may count.
fn judge(accounts: &Accounts, caller: &Caller, need: Need<'_>) -> Result<(), Denied> {
    Gate { accounts, acl: &Acl::default(), now: Stamp(0) }.judge(caller, need)
}

fn range(key: &'static str, end: &'static str) -> KeyRange {
    KeyRange { key: key.into(), end: end.into() }
}

/// Every key of these letters that is no longer than what decides of it: those that rules and
/// ranges name, and what may lie between and behind them.
pub(super) fn all_keys(letters: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    let mut last = keys.clone();
    for _ in 0..4 {
        let longer = |key: &Vec<u8>| -> Vec<_> {
            letters.iter().map(|letter| [&key[..], &[*letter]].concat()).collect()
        };
        last = last.iter().flat_map(longer).collect();
        keys.extend(last.iter().cloned());
    }
    keys.remove(0);
    keys
}

fn permission(kind: Kind, key: &'static str, end: &'static str) -> Permission {
    Permission { kind, range: range(key, end) }
}

fn add(name: &str, password: Option<&str>) -> C {
    C::UserAdd { name: name.into(), hash: password.map(|hash| PasswordHash(hash.into())) }
}

fn password(name: &str) -> C {
    C::ChangePassword { name: name.into(), hash: PasswordHash("new".into()) }
}

fn grant(user: &str, role: &str) -> C {
    C::GrantRole { user: user.into(), role: role.into() }
}

fn revoke(user: &str, role: &str) -> C {
    C::RevokeRole { user: user.into(), role: role.into() }
}

fn permit(role: &str, permission: Permission) -> C {
    C::GrantPermission { role: role.into(), permission }
}

fn forbid(role: &str, range: KeyRange) -> C {
    C::RevokePermission { role: role.into(), range }
}

fn tell(accounts: &mut Accounts, command: &C) -> Result<u64, E> {
    let decided = accounts.decide(command)?;
    decided.changes.iter().for_each(|change| accounts.absorb(change));
    Ok(accounts.revision())
}

/// Root, and one who may do something below `app/` and with two keys.
fn house() -> Accounts {
    let mut accounts = Accounts::default();
    let all = [
        add("root", Some("h")),
        grant("root", "root"),
        add("bob", Some("h")),
        C::RoleAdd("app".into()),
        C::RoleAdd("more".into()),
        permit("app", permission(Kind::ReadWrite, "app/", "app0")),
        permit("app", permission(Kind::Read, "ro", "")),
        permit("more", permission(Kind::Write, "wo", "")),
        grant("bob", "app"),
        grant("bob", "more"),
        C::Enable,
    ];
    for command in &all {
        tell(&mut accounts, command).unwrap();
    }
    accounts
}

fn user(accounts: &Accounts, name: &str) -> Caller {
    let generation = accounts.user(name).map(|user| user.generation);
    Caller::User { name: name.into(), generation }
}

#[test]
fn changes_count_and_are_refused_as_etcd_does() {
    let mut accounts = Accounts::default();
    // What is asked for, and the revision that it makes or why it makes none.
    let table = [
        (C::Enable, Err(E::NoRoot)),
        (C::Disable, Ok(1)),
        (add("root", Some("h")), Ok(2)),
        (C::Enable, Err(E::RootLacksRole)),
        (add("root", Some("h")), Err(E::UserExists)),
        (add("", Some("h")), Err(E::UserEmpty)),
        (C::UserDelete("ghost".into()), Err(E::NoUser)),
        (password("ghost"), Err(E::NoUser)),
        (password("root"), Ok(3)),
        (grant("root", "root"), Ok(4)),
        (grant("root", "root"), Ok(4)),
        (grant("root", "app"), Err(E::NoRole)),
        (grant("ghost", "app"), Err(E::NoUser)),
        (C::RoleAdd("app".into()), Ok(5)),
        (C::RoleAdd("app".into()), Err(E::RoleExists)),
        (C::RoleAdd("".into()), Err(E::RoleEmpty)),
        (permit("app", permission(Kind::Read, "b", "c")), Ok(6)),
        (permit("app", permission(Kind::Write, "b", "c")), Ok(7)),
        (permit("app", permission(Kind::Write, "b", "")), Ok(8)),
        (permit("app", permission(Kind::Write, "", "")), Err(E::Invalid)),
        (permit("app", permission(Kind::Write, "z", "a")), Err(E::Invalid)),
        (permit("ghost", permission(Kind::Write, "b", "")), Err(E::NoRole)),
        (forbid("ghost", range("b", "")), Err(E::NoRole)),
        (forbid("app", range("b", "d")), Err(E::PermissionNotGranted)),
        (forbid("app", range("b", "c")), Ok(9)),
        (add("bob", None), Ok(10)),
        (grant("bob", "app"), Ok(11)),
        (revoke("bob", "root"), Err(E::RoleNotGranted)),
        (revoke("ghost", "root"), Err(E::NoUser)),
        (C::Enable, Ok(11)),
        (C::Enable, Ok(11)),
        (C::UserDelete("root".into()), Err(E::Invalid)),
        (revoke("root", "root"), Err(E::Invalid)),
        (C::RoleDelete("root".into()), Err(E::Invalid)),
        (C::RoleDelete("ghost".into()), Err(E::NoRole)),
        (C::RoleDelete("app".into()), Ok(12)),
        (C::Disable, Ok(13)),
        (revoke("root", "root"), Ok(14)),
        (C::UserDelete("root".into()), Ok(15)),
    ];
    for (command, expected) in table {
        assert_eq!(tell(&mut accounts, &command), expected, "{command:?}");
    }
    assert!(accounts.user("bob").unwrap().roles.is_empty(), "the role has gone from its holder");
}

#[test]
fn a_password_goes_with_its_user_and_who_has_none_gets_none() {
    let mut accounts = Accounts::default();
    let hash = |text: &str| Some(PasswordHash(text.into()));
    let name = |text: &str| -> Arc<str> { text.into() };
    let table = [
        (add("bob", Some("h")), Some((name("bob"), hash("h")))),
        (password("bob"), Some((name("bob"), hash("new")))),
        (add("cert", None), None),
        (password("cert"), None),
        (C::RoleAdd("app".into()), None),
        (C::UserDelete("bob".into()), Some((name("bob"), None))),
    ];
    for (command, expected) in table {
        assert_eq!(accounts.decide(&command).unwrap().password, expected, "{command:?}");
        tell(&mut accounts, &command).unwrap();
    }
}

#[test]
fn who_is_nobody_may_nothing_and_root_everything() {
    let accounts = house();
    let (app, all) = (range("app/1", ""), range("\0", "\0"));
    let needs = [
        Need::User,
        Need::Root,
        Need::Read(&app),
        Need::Write(&all),
        Need::Oneself("bob"),
        Need::RoleOf("app"),
    ];
    let stranger = Caller::User { name: "ghost".into(), generation: Some(1) };
    let named = Caller::User { name: "ghost".into(), generation: None };
    let callers = [
        (Caller::Nobody, Err(Denied::Nobody)),
        (Caller::Stranger, Err(Denied::Token)),
        (Caller::Bearer("unseen".into()), Err(Denied::Token)),
        (stranger, Err(Denied::Token)),
        (named, Err(Denied::Permission)),
        (user(&accounts, "root"), Ok(())),
        (Caller::User { name: "root".into(), generation: None }, Ok(())),
    ];
    let off = Accounts::default();
    for (caller, expected) in callers {
        for need in needs {
            assert_eq!(judge(&accounts, &caller, need), expected.clone(), "{caller:?} {need:?}");
            assert_eq!(judge(&off, &caller, need), Ok(()), "{caller:?} {need:?}, off");
        }
    }
}

#[test]
fn a_user_may_what_its_roles_say() {
    let accounts = house();
    let bob = user(&accounts, "bob");
    let no = || Err(Denied::Permission);
    let table = [
        (Need::User, Ok(())),
        (Need::Root, no()),
        (Need::Read(&range("app/", "app0")), Ok(())),
        (Need::Write(&range("app/1", "app/9")), Ok(())),
        (Need::Read(&range("app/", "app1")), no()),
        (Need::Read(&range("ro", "")), Ok(())),
        (Need::Write(&range("ro", "")), no()),
        (Need::Write(&range("wo", "")), Ok(())),
        (Need::Read(&range("wo", "")), no()),
        (Need::Read(&range("\0", "\0")), no()),
        (Need::Oneself("bob"), Ok(())),
        (Need::Oneself("root"), no()),
        (Need::RoleOf("app"), Ok(())),
        (Need::RoleOf("root"), no()),
    ];
    for (need, expected) in table {
        assert_eq!(judge(&accounts, &bob, need), expected, "{need:?}");
    }
}

#[test]
fn a_token_ends_with_its_password_and_with_its_user_but_not_with_a_role() {
    let mut accounts = house();
    let bob = user(&accounts, "bob");
    let app = range("app/1", "");
    let judged = |accounts: &Accounts| judge(accounts, &bob, Need::Read(&app));
    assert_eq!(judged(&accounts), Ok(()));
    tell(&mut accounts, &revoke("bob", "app")).unwrap();
    assert_eq!(judged(&accounts), Err(Denied::Permission));
    tell(&mut accounts, &grant("bob", "app")).unwrap();
    assert_eq!(judged(&accounts), Ok(()));
    let before = accounts.clone();
    tell(&mut accounts, &password("bob")).unwrap();
    assert_eq!(judged(&accounts), Err(Denied::Token));
    let mut accounts = before;
    tell(&mut accounts, &C::UserDelete("bob".into())).unwrap();
    assert_eq!(judged(&accounts), Err(Denied::Token));
    for command in [add("bob", Some("h")), grant("bob", "app")] {
        tell(&mut accounts, &command).unwrap();
    }
    assert_eq!(judged(&accounts), Err(Denied::Token), "another user of the same name");
}

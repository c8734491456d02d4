//! Tokens and policies: what they permit, alone and beside users, and how they change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::access::acl_change::AclTokenPut;
use crate::access::{
    ANONYMOUS, Accounts, Acl, AclChange, AclCommand as C, AclError as E, AclRow, Caller,
    DefaultPolicy, Denied, Gate, Level, Links, MANAGEMENT, Need, NodeIdentity, PolicyPut,
    READ_ONLY, Resource as R, RolePut, Sealed, SecretId, ServiceIdentity, Sight, When,
};
use crate::model::{AclId, Digest, Stamp};

use super::{house, range, user};

const NOW: When = When { index: 7, stamp: Stamp(1_000) };

fn tell(acl: &mut Acl, command: &C) -> Result<Option<AclRow>, E> {
    let decided = acl.decide(command, NOW)?;
    decided.changes.iter().for_each(|change| acl.absorb(change));
    Ok(decided.row)
}

fn digest(of: u8) -> Digest {
    Digest([of; 32])
}

fn holder(of: u8) -> Caller {
    Caller::Holder(digest(of))
}

fn policy(id: u128, name: &str, text: &str) -> C {
    C::PolicyPut(PolicyPut::made(AclId(id), name, text))
}

/// A token whose secret has that digest; the number is its accessor's, too.
fn token(of: u8, policies: &[u128]) -> AclTokenPut {
    let policies = policies.iter().map(|id| AclId(*id)).collect();
    let secret = SecretId::Sealed { digest: digest(of), sealed: Sealed(Bytes::new()) };
    AclTokenPut {
        links: Links { policies, ..Links::default() },
        created: 5,
        ..AclTokenPut::new(AclId(of.into()), Some(secret))
    }
}

/// Token 10 may do everything, 11 what its policy says, 12 runs web on n1, 13 has a role.
fn closed(default: DefaultPolicy) -> Acl {
    let mut acl = Acl::default();
    let web = ServiceIdentity { name: "web".into(), datacenters: Vec::new() };
    let n1 = NodeIdentity { name: "n1".into(), datacenter: "dc1".to_owned() };
    let rules = "key_prefix \"app/\" { policy = \"write\" } key \"app/secret\" { policy = \
                 \"deny\" } operator = \"read\" service \"db\" { policy = \"write\" }";
    let mut identities = token(12, &[]);
    identities.links.services.push(web);
    identities.links.nodes.push(n1);
    let all = [
        C::Enable { default, created: 5 },
        C::Bootstrap(token(10, &[])),
        policy(100, "app", rules),
        C::TokenPut(token(11, &[100])),
        C::TokenPut(identities),
        C::RolePut(RolePut {
            id: AclId(200),
            new: true,
            name: "reader".into(),
            description: String::new(),
            links: Links { policies: vec![READ_ONLY], ..Links::default() },
        }),
        C::TokenPut(AclTokenPut { roles: vec![AclId(200)], ..token(13, &[]) }),
    ];
    for command in &all {
        tell(&mut acl, command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    acl
}

fn gate<'a>(accounts: &'a Accounts, acl: &'a Acl) -> Gate<'a> {
    Gate { accounts, acl, now: Stamp(0) }
}

#[test]
fn each_token_may_what_its_policies_identities_and_roles_say() {
    use Level::{Read, Write};
    let acl = closed(DefaultPolicy::Deny);
    let open = closed(DefaultPolicy::Allow);
    let (app, secret, all) = (range("app/1", ""), range("app/", "app0"), range("\0", "\0"));
    // Who may: all, 11, 12, 13, nobody; then nobody where all is allowed by default.
    let table: [(Need<'_>, [bool; 6]); 18] = [
        (Need::User, [true, true, true, true, false, true]),
        (Need::Root, [true, false, false, false, false, false]),
        (Need::Read(&app), [true, true, false, true, false, true]),
        (Need::Write(&app), [true, true, false, false, false, true]),
        (Need::Write(&secret), [true, false, false, false, false, true]),
        (Need::Read(&all), [true, false, false, true, false, true]),
        (Need::Rule(R::Key, "app/secret", Read), [true, false, false, true, false, true]),
        (Need::Rule(R::Operator, "", Read), [true, true, false, true, false, true]),
        (Need::Rule(R::Operator, "", Write), [true, false, false, false, false, true]),
        (Need::Rule(R::Acl, "", Read), [true, false, false, true, false, false]),
        (Need::Rule(R::Acl, "", Write), [true, false, false, false, false, false]),
        (Need::Rule(R::Service, "web", Write), [true, false, true, false, false, true]),
        (Need::Rule(R::Service, "WEB", Write), [true, false, true, false, false, true]),
        (Need::Rule(R::Service, "web-2", Write), [true, false, false, false, false, true]),
        (Need::Rule(R::Service, "db", Read), [true, true, true, true, false, true]),
        (Need::Rule(R::Node, "n1", Write), [true, false, true, false, false, true]),
        (Need::Rule(R::Node, "n2", Read), [true, false, true, true, false, true]),
        (Need::Rule(R::Session, "n1", Write), [true, false, false, false, false, true]),
    ];
    let accounts = Accounts::default();
    let callers = [holder(10), holder(11), holder(12), holder(13), Caller::Nobody];
    for (need, expected) in table {
        let judged = callers.iter().map(|caller| gate(&accounts, &acl).judge(caller, need));
        let anyone = gate(&accounts, &open).judge(&Caller::Nobody, need);
        let judged: Vec<bool> = judged.chain([anyone]).map(|judged| judged.is_ok()).collect();
        assert_eq!(judged, expected, "{need:?}");
    }
    for caller in [holder(99), Caller::Stranger, Caller::Bearer("unseen".into())] {
        let judged = gate(&accounts, &acl).judge(&caller, Need::User);
        assert_eq!(judged, Err(Denied::Token), "{caller:?}");
    }
    // The digest of the anonymous token's row opens nothing: nobody's secret has it.
    assert_eq!(gate(&accounts, &acl).judge(&holder(0), Need::User), Err(Denied::Token));
}

#[test]
fn a_denial_says_which_token_lacks_what() {
    let (accounts, acl) = (Accounts::default(), closed(DefaultPolicy::Deny));
    let text = |caller: &Caller, need| match gate(&accounts, &acl).judge(caller, need) {
        Err(Denied::Lacks(lack)) => lack.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(&holder(11), Need::Rule(R::Service, "web", Level::Write)),
        "token with AccessorID '00000000-0000-0000-0000-00000000000b' lacks permission \
         'service:write' on \"web\""
    );
    assert_eq!(
        text(&Caller::Nobody, Need::Rule(R::Operator, "", Level::Read)),
        "anonymous token lacks permission 'operator:read'. The anonymous token is used implicitly \
         when a request does not specify a token."
    );
}

#[test]
fn neither_side_is_the_others_back_door() {
    use Level::{Read, Write};
    let (users, off) = (house(), Acl::default());
    let (root, bob) = (user(&users, "root"), user(&users, "bob"));
    let (deny, allow) = (closed(DefaultPolicy::Deny), closed(DefaultPolicy::Allow));
    let none = Accounts::default();
    let app = range("app/1", "");
    let key = Need::Write(&app);
    let service = Need::Rule(R::Service, "web", Write);
    let (operator, acl) = (Need::Rule(R::Operator, "", Read), Need::Rule(R::Acl, "", Write));
    // Users alone, tokens alone, both, both with everything allowed by default.
    let sides = [gate(&users, &off), gate(&none, &deny), gate(&users, &deny), gate(&users, &allow)];
    let table: [(&str, &Caller, Need<'_>, [bool; 4]); 22] = [
        ("nobody", &Caller::Nobody, key, [false, false, false, false]),
        ("nobody", &Caller::Nobody, service, [true, false, false, true]),
        ("nobody", &Caller::Nobody, operator, [false, false, false, false]),
        ("nobody", &Caller::Nobody, acl, [false, false, false, false]),
        ("nobody", &Caller::Nobody, Need::User, [false, false, false, false]),
        ("nobody", &Caller::Nobody, Need::Root, [false, false, false, false]),
        ("bob", &bob, key, [true, false, true, true]),
        ("bob", &bob, service, [true, false, false, true]),
        ("bob", &bob, operator, [false, false, false, false]),
        ("bob", &bob, acl, [false, false, false, false]),
        ("root", &root, acl, [true, false, true, true]),
        ("root", &root, Need::Root, [true, false, true, true]),
        ("root", &root, service, [true, false, true, true]),
        ("app's token", &holder(11), key, [false, true, true, true]),
        ("app's token", &holder(11), service, [true, false, false, true]),
        ("app's token", &holder(11), operator, [false, true, true, true]),
        ("web's token", &holder(12), service, [true, true, true, true]),
        ("web's token", &holder(12), key, [false, false, false, false]),
        ("web's token", &holder(12), operator, [false, false, false, false]),
        ("the first token", &holder(10), Need::Root, [false, true, true, true]),
        ("the first token", &holder(10), acl, [false, true, true, true]),
        ("unknown", &holder(99), service, [true, false, false, false]),
    ];
    for (who, caller, need, expected) in table {
        let judged = sides.map(|side| side.judge(caller, need).is_ok());
        assert_eq!(judged, expected, "{who} {need:?}");
    }
    // Where both are off everybody may do everything, with any token.
    assert!(gate(&none, &off).judge(&holder(99), Need::Root).is_ok());
}

#[test]
fn a_token_ends_when_its_time_is_up() {
    let mut acl = closed(DefaultPolicy::Deny);
    let ttl = Some(Duration::from_secs(60));
    tell(&mut acl, &C::TokenPut(AclTokenPut { ttl, ..token(20, &[1]) })).unwrap();
    let ends = Stamp(61_000);
    assert_eq!(acl.first_end(), Some(ends));
    let accounts = Accounts::default();
    let judged =
        |acl: &Acl, now| Gate { accounts: &accounts, acl, now }.judge(&holder(20), Need::Root);
    assert_eq!(judged(&acl, Stamp(60_999)), Ok(()));
    assert_eq!(judged(&acl, ends), Err(Denied::Token));
    // What is kept of it ends as soon.
    let sight =
        |now, known: &Sight| Gate { accounts: &accounts, acl: &acl, now }.sight(&holder(20), known);
    let kept = sight(Stamp(60_999), &Sight::default()).unwrap();
    assert!(kept.service("web") && sight(Stamp(60_999), &kept).is_none());
    let ended = sight(ends, &kept).unwrap();
    assert!(!ended.service("web") && !ended.is_open());
    let expire = |acl: &Acl, stamp| acl.decide(&C::Expire, When { index: 8, stamp }).unwrap();
    assert!(expire(&acl, Stamp(60_999)).changes.is_empty());
    let decided = expire(&acl, ends);
    assert_eq!(decided.changes.first(), Some(&AclChange::Token(AclId(20), None)));
    assert_eq!(decided.changes.len(), 2, "and their index");
    assert_eq!(decided.secrets, [(AclId(20), None)]);
    decided.changes.iter().for_each(|change| acl.absorb(change));
    assert_eq!((acl.first_end(), acl.token(AclId(20))), (None, None));
}

#[test]
fn changes_are_refused_as_consul_does() {
    let mut acl = closed(DefaultPolicy::Deny);
    let named = |name: &str| policy(300, name, "");
    let with_links = |links: Links| C::TokenPut(AclTokenPut { links, ..token(30, &[]) });
    let change = |id: u128, name: &str, text: &str| match policy(id, name, text) {
        C::PolicyPut(put) => C::PolicyPut(PolicyPut { new: false, ..put }),
        other => other,
    };
    let identity = ServiceIdentity { name: "a b".into(), datacenters: Vec::new() };
    let open = SecretId::Open("in clear".into());
    let table: [(C, &str); 19] = [
        (C::Bootstrap(token(31, &[])), "no longer allowed (reset index: 7)"),
        (named(""), "Invalid Policy: no Name is set"),
        (named("app"), "Invalid Policy: A Policy with Name \"app\" already exists"),
        (named("a b"), "Invalid Policy: invalid Name. Only alphanumeric"),
        (named(&"x".repeat(129)), "Invalid Policy: invalid Name"),
        (policy(301, "x", "nonsense {"), "Failed to parse ACL rules: At 1:12"),
        (policy(301, "x", &" ".repeat(65 * 1024)), "Rules of 66560 is too long"),
        (change(999, "z", ""), "cannot find policy 00000000-0000-0000-0000-0000000003e7"),
        (C::PolicyDelete(MANAGEMENT), "Delete operation not permitted on the builtin global-m"),
        (change(1, "gm", ""), "Changing the Rules for the builtin global-management policy"),
        (C::TokenDelete(ANONYMOUS), "Delete operation not permitted on the anonymous token"),
        (
            C::TokenPut(AclTokenPut { accessor: AclId(30), ..token(11, &[]) }),
            "Invalid Token: SecretID is already in use",
        ),
        (
            C::TokenPut(AclTokenPut { secret: None, ..token(99, &[]) }),
            "Cannot find token \"00000000-0000-0000-0000-000000000063\"",
        ),
        (C::TokenPut(token(30, &[999])), "No such ACL policy with ID"),
        (
            C::TokenPut(AclTokenPut { roles: vec![AclId(999)], ..token(30, &[]) }),
            "No such ACL role with ID",
        ),
        (
            with_links(Links { services: vec![identity], ..Links::default() }),
            "Service identity \"a b\" has an invalid name",
        ),
        (
            with_links(Links { policies: vec![AclId(1); 257], ..Links::default() }),
            "Policies of 257 is too long: at most 256",
        ),
        (
            C::TokenPut(AclTokenPut { accessor: AclId(11), ..token(32, &[]) }),
            "Invalid Token: AccessorID is already in use",
        ),
        (C::TokenPut(AclTokenPut { secret: Some(open), ..token(33, &[]) }), "has to be sealed"),
    ];
    for (command, expected) in table {
        let error = tell(&mut acl, &command).expect_err(expected).to_string();
        assert!(error.contains(expected), "{command:?}: {error}");
    }
    // Of what is not there, nothing is taken.
    for command in
        [C::PolicyDelete(AclId(999)), C::RoleDelete(AclId(999)), C::TokenDelete(AclId(999))]
    {
        assert_eq!(acl.decide(&command, NOW).unwrap().changes, []);
    }
    assert_eq!(Acl::default().decide(&named("x"), NOW), Err(E::Disabled));
}

#[test]
fn what_is_changed_changes_what_is_permitted() {
    let mut acl = closed(DefaultPolicy::Deny);
    let accounts = Accounts::default();
    let db = Need::Rule(R::Service, "db", Level::Write);
    let may = |acl: &Acl| gate(&accounts, acl).judge(&holder(11), db).is_ok();
    assert!(may(&acl));
    tell(&mut acl, &C::PolicyDelete(AclId(100))).unwrap();
    assert!(!may(&acl), "a policy that is gone permits nothing, whoever still names it");
    let put = AclTokenPut { secret: None, ..token(11, &[1]) };
    let row = tell(&mut acl, &C::TokenPut(put)).unwrap();
    let Some(AclRow::Token(row)) = row else { panic!("{row:?}") };
    assert_eq!((row.digest, row.create, row.created), (digest(11), 7, 5));
    assert!(may(&acl));
    tell(&mut acl, &C::TokenDelete(AclId(11))).unwrap();
    assert_eq!(gate(&accounts, &acl).judge(&holder(11), db), Err(Denied::Token));
    // What nobody shows has a token of its own.
    let nobody = |acl: &Acl| gate(&accounts, acl).judge(&Caller::Nobody, db).is_ok();
    assert!(!nobody(&acl));
    let put = AclTokenPut { accessor: ANONYMOUS, secret: None, ..token(2, &[1]) };
    tell(&mut acl, &C::TokenPut(put)).unwrap();
    assert!(nobody(&acl));
    // Another first token does what the first one did.
    tell(&mut acl, &C::Reset(token(40, &[100]))).unwrap();
    assert_eq!(gate(&accounts, &acl).judge(&holder(40), Need::Root), Ok(()));
    tell(&mut acl, &C::Disable).unwrap();
    assert!(gate(&accounts, &acl).is_open());
    let switch = acl.switch();
    tell(&mut acl, &C::Enable { default: DefaultPolicy::Deny, created: 9 }).unwrap();
    assert_eq!(acl.switch().bootstrapped, switch.bootstrapped, "what was made stays");
}

#[test]
fn rows_make_the_same_again() {
    let acl = closed(DefaultPolicy::Allow);
    let mut again = Acl::default();
    acl.rows().for_each(|row| again.absorb(&row));
    assert_eq!(again, acl);
    assert!(!acl.is_untouched() && Acl::default().is_untouched());
    let name = acl.policy(MANAGEMENT).map(|policy| policy.name.clone());
    assert_eq!(name, Some(Arc::from("global-management")));
}

//! Accounts in the state: judged in the log's order, kept in snapshots, restored, kept from edges.

use crate::access::{AccountCommand as C, Caller, Denied, Kind, PasswordHash, Permission};
use crate::model::{KeyRange, LeaseId, Stamp};
use crate::state::{
    Change, Command, Compare, DeleteRange, KvCommand, Outcome, Part, Put, RangeQuery, Refusal,
    Relation, State, Target, Txn, TxnOp,
};

use super::Told;
use super::restore::{backup, restore};

fn one(key: &'static str) -> KeyRange {
    KeyRange::one(key.into())
}

fn put(key: &'static str) -> Put {
    Put {
        key: key.into(),
        value: "v".into(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

impl Told {
    fn change(&mut self, command: C) {
        assert_eq!(self.tell(Stamp(0), Command::Account(command)), Outcome::Done);
    }

    pub(super) fn by(&mut self, caller: &Caller, command: Command) -> Outcome {
        self.tell(Stamp(0), command.by(caller.clone()))
    }

    pub(super) fn caller(&self, name: &str) -> Caller {
        let generation = self.state.accounts().user(name).map(|user| user.generation);
        Caller::User { name: name.into(), generation }
    }

    /// Bob may do everything below `app/`, read `ro` and write `wo`; on lease 9 is a key of root's.
    pub(super) fn closed() -> Told {
        let mut told = Told::founded();
        let user = |name: &str| {
            let hash = Some(PasswordHash(format!("hash of {name}").into()));
            C::UserAdd { name: name.into(), hash }
        };
        let grant = |kind, range| {
            let permission = Permission { kind, range };
            C::GrantPermission { role: "app".into(), permission }
        };
        for command in [
            user("root"),
            C::GrantRole { user: "root".into(), role: "root".into() },
            user("bob"),
            C::RoleAdd("app".into()),
            grant(Kind::ReadWrite, KeyRange::prefix(&"app/".into())),
            grant(Kind::Read, one("ro")),
            grant(Kind::Write, one("wo")),
            C::GrantRole { user: "bob".into(), role: "app".into() },
        ] {
            told.change(command);
        }
        for id in [LeaseId(8), LeaseId(9)] {
            let ttl = std::time::Duration::from_secs(60);
            told.tell(Stamp(0), Command::LeaseGrant { id, ttl });
        }
        told.tell(Stamp(0), Command::Put(Put { lease: LeaseId(9), ..put("secret") }));
        told.change(C::Enable);
        told
    }
}

pub(super) fn denied(outcome: &Outcome) -> Option<Denied> {
    match outcome {
        Outcome::Refused(Refusal::Denied(denied)) => Some(denied.clone()),
        _ => None,
    }
}

#[test]
fn each_command_takes_the_keys_that_it_touches() {
    let txn = |compare: Option<&'static str>, success: Vec<TxnOp>, failure: Vec<TxnOp>| {
        let compare = compare.map(|key| Compare {
            range: one(key),
            relation: Relation::Equal,
            target: Target::Version(0),
        });
        Command::Txn(Txn { compare: compare.into_iter().collect(), success, failure })
    };
    let inner = |op| TxnOp::Txn(Txn { compare: vec![], success: vec![], failure: vec![op] });
    let delete = |range, prev_kv| DeleteRange { range, prev_kv };
    let app = KeyRange::prefix(&"app/".into());
    let wide = KeyRange { key: "app/".into(), end: "app1".into() };
    let leased = |key, lease| Put { lease: LeaseId(lease), ..put(key) };
    let set = |key: &'static str| {
        let value = "v".into();
        Command::Kv(KvCommand::Set { key: key.into(), value, flags: 0, cas: None })
    };
    let may = [
        Command::Put(put("app/1")),
        Command::Put(put("wo")),
        Command::Put(Put { prev_kv: true, ..put("app/1") }),
        Command::Put(leased("app/1", 8)),
        Command::DeleteRange(delete(app.clone(), true)),
        Command::DeleteRange(delete(one("wo"), false)),
        txn(Some("ro"), vec![TxnOp::Put(put("app/1"))], vec![TxnOp::Range(RangeQuery::new(app))]),
        set("app/1"),
        Command::Kv(KvCommand::DeleteTree { prefix: "app/".into() }),
        Command::LeaseGrant { id: LeaseId(7), ttl: std::time::Duration::from_secs(60) },
        Command::LeaseRevoke(LeaseId(8)),
        // The catalog is nobody's.
        Command::Catalog(Vec::new()),
    ];
    let may_not = [
        Command::Put(put("ro")),
        Command::Put(Put { prev_kv: true, ..put("wo") }),
        Command::Put(leased("app/1", 9)),
        Command::DeleteRange(delete(wide, false)),
        Command::DeleteRange(delete(one("wo"), true)),
        txn(Some("wo"), vec![], vec![]),
        txn(None, vec![TxnOp::Put(put("app/1"))], vec![TxnOp::Put(put("ro"))]),
        txn(None, vec![inner(TxnOp::Delete(delete(one("ro"), false)))], vec![]),
        txn(None, vec![inner(TxnOp::Put(leased("app/1", 9)))], vec![]),
        txn(None, vec![TxnOp::Range(RangeQuery::new(one("wo")))], vec![]),
        set("ro"),
        Command::Kv(KvCommand::DeleteTree { prefix: "app".into() }),
        Command::LeaseRevoke(LeaseId(9)),
        Command::Compact(1),
        Command::Account(C::Disable),
        Command::Raise(1),
        Command::Put(put("app/1")).by(Caller::Nobody),
    ];
    let told = Told::closed();
    let (root, bob) = (told.caller("root"), told.caller("bob"));
    let judged = |caller: &Caller, command: &Command| {
        let (outcome, changes) = told.decide(Stamp(0), command.clone().by(caller.clone()));
        assert!(denied(&outcome).is_none() || changes.rows.is_empty());
        denied(&outcome)
    };
    for command in &may {
        assert_eq!(judged(&bob, command), None, "{command:?}");
        assert_eq!(judged(&root, command), None, "{command:?}");
    }
    for command in &may_not {
        assert_eq!(judged(&bob, command), Some(Denied::Permission), "{command:?}");
    }
    for command in may.iter().chain(&may_not) {
        let open = matches!(command, Command::Catalog(_));
        let nobody = (!open).then_some(Denied::Nobody);
        let stranger = (!open).then_some(Denied::Token);
        assert_eq!(judged(&Caller::Nobody, command), nobody, "{command:?}");
        assert_eq!(judged(&Caller::Stranger, command), stranger, "{command:?}");
        // What the cluster does by itself is nobody's wish.
        let (outcome, _) = told.decide(Stamp(0), command.clone());
        let inside = matches!(command, Command::For(_));
        assert_eq!(denied(&outcome).is_some(), inside, "{command:?}");
    }
}

#[test]
fn a_right_that_is_withdrawn_is_withdrawn_for_what_comes_after_it_in_the_log() {
    let mut told = Told::closed();
    let bob = told.caller("bob");
    assert!(denied(&told.by(&bob, Command::Put(put("app/1")))).is_none());
    told.change(C::RevokeRole { user: "bob".into(), role: "app".into() });
    let outcome = told.by(&bob, Command::Put(put("app/1")));
    assert_eq!(denied(&outcome), Some(Denied::Permission));
    let revision = told.state.revision();
    told.change(C::ChangePassword { name: "bob".into(), hash: PasswordHash("new".into()) });
    let outcome = told.by(&bob, Command::Put(put("app/1")));
    assert_eq!(denied(&outcome), Some(Denied::Token));
    assert_eq!(told.state.revision(), revision, "accounts move no revision");
}

#[test]
fn a_snapshot_keeps_accounts_and_tells_edges_no_password() {
    let told = Told::closed();
    let same = |part| State::decode(&told.state.encode(Part::Server), part).unwrap();
    let server = same(Part::Server);
    assert_eq!(server.accounts(), told.state.accounts());
    assert_eq!(server.password("bob"), Some(&PasswordHash("hash of bob".into())));
    let edge = same(Part::Shared);
    assert_eq!((edge.accounts(), edge.password("bob")), (told.state.accounts(), None));
    let shared = told.state.encode(Part::Shared);
    assert!(!shared.windows(7).any(|window| window == b"hash of"));
    let mut followed = State::new(Part::Shared);
    for changes in &told.entries {
        let shared = changes.shared();
        assert!(!shared.rows.iter().any(|row| matches!(row, Change::Password(..))));
        followed.absorb(&shared);
    }
    assert_eq!(followed.accounts(), told.state.accounts());
    assert_eq!(followed.checksum(Part::Shared), told.state.checksum(Part::Shared));
}

#[test]
fn a_backup_brings_users_back_and_ends_every_token() {
    let saved = Told::closed();
    let mut told = Told::founded();
    told.change(C::RoleAdd("gone".into()));
    let hash = Some(PasswordHash("hash of gone".into()));
    told.change(C::UserAdd { name: "gone".into(), hash });
    let before = saved.caller("bob");
    let bytes = backup(&saved.state);
    assert!(matches!(restore(&mut told, &bytes, 4096), Outcome::Restored { .. }));
    let accounts = told.state.accounts();
    assert!(accounts.enabled() && accounts.revision() > saved.state.accounts().revision());
    assert!(accounts.user("gone").is_none() && accounts.role("gone").is_none());
    assert_eq!(accounts.role("app"), saved.state.accounts().role("app"));
    assert_eq!(told.state.password("bob"), Some(&PasswordHash("hash of bob".into())));
    assert_eq!(told.state.password("gone"), None);
    assert_eq!(denied(&told.by(&before, Command::Put(put("app/1")))), Some(Denied::Token));
    let now = told.caller("bob");
    assert_eq!(denied(&told.by(&now, Command::Put(put("app/1")))), None);
    // One without accounts opens what was closed.
    let mut closed = Told::closed();
    let open = backup(&Told::founded().state);
    assert!(matches!(restore(&mut closed, &open, 4096), Outcome::Restored { .. }));
    assert!(!closed.state.accounts().enabled() && closed.state.accounts().user("root").is_none());
}

//! Consul's transactions: random ones, what the stupid model makes of them, and how they fold.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::access::{Caller, Denied};
use crate::model::{Folded, LeaseId, Revision, SessionId, Source, Stamp};
use crate::state::{
    CatalogOp, CheckKey, CheckPut, CheckRow, Command, InstanceKey, InstanceRow, Key, KeyOp, KeyPut,
    KeyRow, Lock, NodeRow, OpError, OpFailure, Outcome, Refusal, RowOp, SequenceOp, Shown,
};

use super::commands::{self, PREFIXES};
use super::model::Model;
use super::{Told, key_row, put};

pub fn sequence() -> impl Strategy<Value = Vec<SequenceOp>> {
    let op = prop_oneof![8 => key_op(), 3 => catalog_op()];
    proptest::collection::vec(op, 1..6)
}

fn key_op() -> impl Strategy<Value = SequenceOp> {
    let at = || prop_oneof![2 => Just(0i64), 3 => 1..30i64];
    let session = || commands::session_id();
    let key_put =
        || (commands::value(), 0..2u64).prop_map(|(value, flags)| KeyPut { value, flags });
    let op = prop_oneof![
        2 => Just(KeyOp::Get),
        1 => Just(KeyOp::GetOrEmpty),
        1 => Just(KeyOp::GetTree),
        5 => key_put().prop_map(KeyOp::Set),
        2 => (key_put(), at()).prop_map(|(put, at)| KeyOp::Cas(put, at)),
        4 => (key_put(), session()).prop_map(|(put, id)| KeyOp::Lock(put, id)),
        2 => (key_put(), session()).prop_map(|(put, id)| KeyOp::Unlock(put, id)),
        3 => Just(KeyOp::Delete),
        1 => at().prop_map(KeyOp::DeleteCas),
        1 => at().prop_map(KeyOp::CheckIndex),
        1 => proptest::option::of(session()).prop_map(KeyOp::CheckSession),
        1 => Just(KeyOp::CheckAbsent),
    ];
    let tree = proptest::sample::select(&PREFIXES[1..]);
    prop_oneof![
        12 => (commands::key(), op).prop_map(|(key, op)| SequenceOp::Key(key, op)),
        1 => tree.prop_map(|prefix| SequenceOp::Key(prefix.into(), KeyOp::DeleteTree)),
    ]
}

/// What a change of the catalog would be, as a step: at some index, or whatever is there.
fn catalog_op() -> impl Strategy<Value = SequenceOp> {
    (commands::catalog_op(), 0..4usize, 0..40u64).prop_map(|(op, how, at)| match op {
        CatalogOp::PutNode(mut def) => {
            def.agent = None;
            SequenceOp::Node(Folded::new(&def.name), row_op(how, at, def))
        }
        CatalogOp::PutInstance { node, def, .. } => {
            let key = InstanceKey::new(&node, &def.id);
            SequenceOp::Instance(key, row_op(how, at, def))
        }
        CatalogOp::PutCheck { node, def, status, output, .. } => {
            let key = CheckKey::new(&node, &def.id);
            SequenceOp::Check(key, row_op(how, at, CheckPut { def, status, output }))
        }
        CatalogOp::Report { node, check, .. } => {
            SequenceOp::Check(CheckKey { node, id: check }, RowOp::Get)
        }
        CatalogOp::RemoveNode(node) => SequenceOp::Node(node, RowOp::Delete),
        CatalogOp::RemoveInstance { node, id } => {
            SequenceOp::Instance(InstanceKey { node, id }, RowOp::Delete)
        }
        CatalogOp::RemoveCheck { node, id } => {
            let op = if how == 0 { RowOp::DeleteCas(at) } else { RowOp::Delete };
            SequenceOp::Check(CheckKey { node, id }, op)
        }
    })
}

fn row_op<T>(how: usize, at: u64, def: T) -> RowOp<T> {
    match how {
        0 => RowOp::Cas(def, at / 10),
        _ => RowOp::Set(def),
    }
}

/// What the model makes of it: the steps on a copy, of which one event of each key is taken over.
pub fn decide(model: &mut Model, ops: &[SequenceOp]) -> Outcome {
    let before = model.clone();
    let delayed = |op: &SequenceOp| match op {
        SequenceOp::Key(key, KeyOp::Lock(..)) => before.delays.has(key),
        _ => false,
    };
    let early = ops.iter().enumerate().filter(|(_, op)| delayed(op));
    let early: Vec<OpFailure> =
        early.map(|(op, _)| OpFailure { op, early: true, why: OpError::Delayed }).collect();
    if !early.is_empty() {
        return Outcome::Sequence(Err(early));
    }
    let (mut shown, mut failures) = (Vec::new(), Vec::new());
    for (op, what) in ops.iter().enumerate() {
        match step(model, what) {
            Ok(rows) => shown.extend(rows),
            Err(why) => failures.push(OpFailure { op, early: false, why }),
        }
    }
    if !failures.is_empty() {
        *model = before;
        return Outcome::Sequence(Err(failures));
    }
    let steps = std::mem::replace(&mut model.keys, before.keys.clone());
    let at = before.revision as u64 + 1;
    let written = steps.writes_since(before.revision as u64);
    let mut keys: Vec<Key> = written.iter().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let went = written.iter().any(|(of, write)| *of == key && write.is_none());
        if went && before.keys.has(&key) {
            model.keys.remove(at, &key);
        }
        if let Some(found) = steps.get(&key) {
            model.keys.put(at, &key, found.value);
        }
    }
    Outcome::Sequence(Ok(shown))
}

fn step(model: &mut Model, op: &SequenceOp) -> Result<Vec<Shown>, OpError> {
    let index = model.index;
    let stale = |is: Option<u64>, wanted: u64| match is.unwrap_or(0) == wanted {
        true => Ok(()),
        false => Err(OpError::Stale),
    };
    let change = match op {
        SequenceOp::Key(key, op) => return key_step(model, key, op),
        SequenceOp::Node(name, op) => {
            let is = model.nodes.get(name).map(|found| found.modified);
            match op {
                RowOp::Get => is.map(|_| None).ok_or(OpError::Missing)?,
                RowOp::Set(def) => Some(CatalogOp::PutNode(def.clone())),
                RowOp::Cas(def, at) => {
                    stale(is, *at)?;
                    Some(CatalogOp::PutNode(def.clone()))
                }
                RowOp::Delete => Some(CatalogOp::RemoveNode(name.clone())),
                RowOp::DeleteCas(at) if is == Some(*at) => {
                    Some(CatalogOp::RemoveNode(name.clone()))
                }
                RowOp::DeleteCas(_) => return Err(OpError::Stale),
            }
        }
        SequenceOp::Instance(key, op) => {
            let is = model.instances.get(key).map(|found| found.modified);
            let (node, id, source) = (key.node.clone(), key.id.clone(), Source::Catalog);
            let gone = CatalogOp::RemoveInstance { node: node.clone(), id };
            match op {
                RowOp::Get => is.map(|_| None).ok_or(OpError::Missing)?,
                RowOp::Set(def) => Some(CatalogOp::PutInstance { node, def: def.clone(), source }),
                RowOp::Cas(def, at) => {
                    stale(is, *at)?;
                    Some(CatalogOp::PutInstance { node, def: def.clone(), source })
                }
                RowOp::Delete => Some(gone),
                RowOp::DeleteCas(at) if is == Some(*at) => Some(gone),
                RowOp::DeleteCas(_) => return Err(OpError::Stale),
            }
        }
        SequenceOp::Check(key, op) => {
            let is = model.checks.get(key).map(|found| found.modified);
            let (node, id, source) = (key.node.clone(), key.id.clone(), Source::Catalog);
            let gone = CatalogOp::RemoveCheck { node: node.clone(), id };
            let puts = |put: &CheckPut| {
                let CheckPut { def, status, output } = put.clone();
                CatalogOp::PutCheck { node, def, status, output, source }
            };
            match op {
                RowOp::Get => is.map(|_| None).ok_or(OpError::Missing)?,
                RowOp::Set(put) => Some(puts(put)),
                RowOp::Cas(put, at) => {
                    stale(is, *at)?;
                    Some(puts(put))
                }
                RowOp::Delete => Some(gone),
                RowOp::DeleteCas(at) if is == Some(*at) => Some(gone),
                RowOp::DeleteCas(_) => return Err(OpError::Stale),
            }
        }
    };
    if let Some(change) = change {
        model.operate(&change).map_err(OpError::Refused)?;
        model.end_unborne();
    }
    assert_eq!(model.index, index);
    Ok(row_shown(model, op).into_iter().collect())
}

fn row_shown(model: &Model, op: &SequenceOp) -> Option<Shown> {
    Some(match op {
        SequenceOp::Key(..) => return None,
        SequenceOp::Node(name, _) => {
            let found = model.nodes.get(name)?;
            let (create, modified) = (found.create, found.modified);
            Shown::Node(Arc::new(NodeRow { def: found.value, create, modified }))
        }
        SequenceOp::Instance(key, _) => {
            let found = model.instances.get(key)?;
            let ((def, source), node) = (found.value, key.node.clone());
            let (create, modified) = (found.create, found.modified);
            Shown::Instance(Arc::new(InstanceRow { node, def, source, create, modified }))
        }
        SequenceOp::Check(key, _) => {
            let found = model.checks.get(key)?;
            let super::model::Check { def, status, output, source } = found.value;
            let (node, create, modified) = (key.node.clone(), found.create, found.modified);
            let row = CheckRow { node, def, status, output, source, create, modified };
            Shown::Check(Arc::new(row))
        }
    })
}

fn key_step(model: &mut Model, key: &Key, op: &KeyOp) -> Result<Vec<Shown>, OpError> {
    let found = model.keys.get(key);
    let is = found.as_ref().map_or(0, |found| found.modified as Revision);
    let holder = found.as_ref().and_then(|found| found.value.lock.clone()?.holder);
    let full = |(key, found)| Shown::Key(key, Arc::new(key_row(found)));
    match op {
        KeyOp::Get if found.is_none() => return Err(OpError::Missing),
        KeyOp::GetOrEmpty if found.is_none() => {
            let (value, lock, lease) = (Bytes::new(), None, LeaseId(0));
            let row = KeyRow { value, create: 0, modified: 0, version: 0, lease, flags: 0, lock };
            return Ok(vec![Shown::Key(key.clone(), Arc::new(row))]);
        }
        KeyOp::Get | KeyOp::GetOrEmpty => {
            return Ok(found.map(|found| full((key.clone(), found))).into_iter().collect());
        }
        KeyOp::GetTree => {
            let all = model.keys.all().into_iter();
            return Ok(all.filter(|(of, _)| of.starts_with(key)).map(full).collect());
        }
        KeyOp::CheckAbsent => return if is == 0 { Ok(vec![]) } else { Err(OpError::Exists) },
        KeyOp::CheckIndex(_) | KeyOp::CheckSession(_) if is == 0 => return Err(OpError::Missing),
        KeyOp::CheckIndex(at) if is != *at => return Err(OpError::StaleAt(is)),
        KeyOp::CheckSession(id) if holder != *id => return Err(OpError::HeldBy(holder)),
        KeyOp::CheckIndex(_) | KeyOp::CheckSession(_) => {}
        KeyOp::Set(put) => model.write(key, &put.value, put.flags, lock_of(model, key)),
        KeyOp::Cas(_, at) if is != *at => return Err(OpError::Stale),
        KeyOp::Cas(put, _) => model.write(key, &put.value, put.flags, lock_of(model, key)),
        KeyOp::Lock(put, id) => match model.acquire(key, &put.value, put.flags, *id) {
            Ok(true) => {}
            Ok(false) if model.delays.has(key) => return Err(OpError::Delayed),
            Ok(false) => return Err(OpError::Held),
            Err(_) => return Err(OpError::NoSession(*id)),
        },
        KeyOp::Unlock(put, id) => {
            if !model.release(key, &put.value, put.flags, *id) {
                return Err(OpError::NotHeld);
            }
        }
        KeyOp::Delete => drop(model.delete(|of| of == key)),
        KeyOp::DeleteTree => drop(model.delete(|of| of.starts_with(key))),
        KeyOp::DeleteCas(at) if is != 0 && is != *at => return Err(OpError::Stale),
        KeyOp::DeleteCas(_) => drop(model.delete(|of| of == key)),
    }
    let shown = model.keys.get(key).map(|found| {
        let row = KeyRow { value: Bytes::new(), ..key_row(found) };
        Shown::Key(key.clone(), Arc::new(row))
    });
    Ok(shown.into_iter().collect())
}

fn lock_of(model: &Model, key: &Key) -> Option<Lock> {
    model.keys.get(key).and_then(|found| found.value.lock)
}

fn set(key: &'static str, value: &'static str) -> SequenceOp {
    SequenceOp::Key(key.into(), KeyOp::Set(KeyPut { value: value.into(), flags: 0 }))
}

fn delete(key: &'static str) -> SequenceOp {
    SequenceOp::Key(key.into(), KeyOp::Delete)
}

#[test]
fn a_transaction_makes_one_event_of_each_key() {
    let mut told = Told::founded();
    for key in ["again", "gone", "new"] {
        told.tell(Stamp(0), Command::Put(put(key, "0")));
    }
    let revision = told.state.revision();
    let ops = vec![
        set("again", "1"),
        set("again", "2"),
        delete("new"),
        set("new", "1"),
        delete("gone"),
        set("never", "1"),
        delete("never"),
    ];
    let outcome = told.tell(Stamp(0), Command::Sequence(ops));
    assert!(matches!(outcome, Outcome::Sequence(Ok(_))), "{outcome:?}");
    assert_eq!(told.state.revision(), revision + 1);
    let mut events: Vec<(Bytes, Option<(Revision, i64)>)> = Vec::new();
    for event in told.entries.last().unwrap().key_events() {
        events.push((event.key, event.row.map(|row| (row.create, row.version))));
    }
    events.sort();
    let expected = [("again", Some((2, 2))), ("gone", None), ("new", Some((revision + 1, 1)))];
    assert_eq!(events, expected.map(|(key, row)| (Bytes::from(key), row)));
}

#[test]
fn what_fails_is_told_whole_and_changes_nothing() {
    let mut told = Told::founded();
    let (index, revision) = (told.state.index(), told.state.revision());
    let get = |key: &'static str| SequenceOp::Key(key.into(), KeyOp::Get);
    let ops = vec![set("a", "1"), get("b"), get("a"), get("c")];
    let failed = |op| OpFailure { op, early: false, why: OpError::Missing };
    let outcome = told.tell(Stamp(0), Command::Sequence(ops));
    assert_eq!(outcome, Outcome::Sequence(Err(vec![failed(1), failed(3)])));
    assert_eq!((told.state.index(), told.state.revision()), (index, revision));
}

#[test]
fn each_operation_is_judged_by_itself() {
    let mut told = Told::closed();
    for key in ["app/1", "secret"] {
        told.tell(Stamp(0), Command::Put(put(key, "0")));
    }
    let bob = || Caller::User { name: "bob".into(), generation: None };
    let get = |key: &'static str, op: KeyOp| SequenceOp::Key(key.into(), op);
    let denied = |op, why| OpFailure { op, early: true, why: OpError::Denied(why) };
    let no = |op| denied(op, Denied::Permission);
    let mut ask = |caller: Caller, ops: Vec<SequenceOp>| {
        told.tell(Stamp(0), Command::Sequence(ops).by(caller))
    };
    let ops = vec![set("app/1", "1"), set("secret", "1"), get("secret", KeyOp::CheckAbsent)];
    assert_eq!(ask(bob(), ops), Outcome::Sequence(Err(vec![no(1), no(2)])));
    assert_eq!(
        ask(Caller::Nobody, vec![set("app/1", "1")]),
        Outcome::Sequence(Err(vec![denied(0, Denied::Nobody)]))
    );
    let refused = Outcome::Refused(Refusal::Denied(Denied::Token));
    assert_eq!(ask(Caller::Stranger, vec![set("app/1", "1")]), refused);
    // What may not be seen is not shown, whether it is there or not.
    let ops = vec![get("secret", KeyOp::Get), get("nothing", KeyOp::Get), get("", KeyOp::GetTree)];
    let Outcome::Sequence(Ok(shown)) = ask(bob(), ops) else { panic!("denied") };
    let [Shown::Key(key, _)] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(key, "app/1");
}

#[test]
fn who_lived_by_what_an_operation_takes_away_is_gone_for_the_next() {
    let mut told = super::sessions::with_node();
    let def = super::sessions::session(1, "n1", &["serfHealth"]);
    told.tell(Stamp(0), Command::SessionCreate(def));
    let lock = |id| {
        let put = KeyPut { value: "v".into(), flags: 0 };
        SequenceOp::Key("k".into(), KeyOp::Lock(put, SessionId(id)))
    };
    let key = CheckKey::new(&Folded::new("n1"), "serfHealth");
    let gone = SequenceOp::Check(key, RowOp::Delete);
    let outcome = told.tell(Stamp(0), Command::Sequence(vec![lock(1), gone.clone(), lock(1)]));
    let why = OpError::NoSession(SessionId(1));
    assert_eq!(outcome, Outcome::Sequence(Err(vec![OpFailure { op: 2, early: false, why }])));
    let revision = told.state.revision();
    assert!(matches!(
        told.tell(Stamp(0), Command::Sequence(vec![lock(1), gone])),
        Outcome::Sequence(Ok(_))
    ));
    let row = told.state.key(b"k").unwrap();
    assert_eq!((row.holder(), row.lock_index(), row.version), (None, 1, 1));
    assert_eq!((told.state.revision(), told.state.sessions().count()), (revision + 1, 0));
}

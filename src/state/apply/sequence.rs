//! Decides Consul's transactions: one operation after the other, folded to one event for each key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Caller, Denied, Need, Resource, Rights};
use crate::model::{Index, KeyRange, LeaseId, ServiceDef, Source};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{CatalogOp, Outcome};
use crate::state::permits::Steps;
use crate::state::rows::{Key, KeyRow};
use crate::state::sequence::{
    CheckPut, KeyOp, OpError, OpFailure, RowOp, SequenceOp, Sequenced, Shown,
};

use super::draft::Draft;
use super::kv::{self, Unmet};
use super::{catalog, sessions};

impl State {
    /// What the operations would come to here; nothing comes of it. Of those that only look, it is
    /// the answer.
    pub fn rehearse(&self, caller: &Caller, ops: &[SequenceOp]) -> Sequenced {
        perform(&mut Draft::new(self, self.applied, self.stamp), Some(caller), ops)
    }
}

pub(super) fn sequence(
    draft: &mut Draft<'_>,
    caller: Option<&Caller>,
    ops: &[SequenceOp],
) -> Outcome {
    let done = perform(draft, caller, ops);
    match &done {
        Ok(_) => fold(draft),
        Err(_) => draft.discard(),
    }
    Outcome::Sequence(done)
}

/// Everything that fails is told, not only the first. What fails changes nothing for those behind.
fn perform(draft: &mut Draft<'_>, caller: Option<&Caller>, ops: &[SequenceOp]) -> Sequenced {
    let base = draft.base();
    // Without a caller it is an agent's own.
    let rights = caller.map(|caller| base.standing(caller));
    let failures = |early, found: Vec<(usize, OpError)>| {
        found.into_iter().map(|(op, why)| OpFailure { op, early, why }).collect::<Vec<_>>()
    };
    let mut steps = match &rights {
        Some(Ok(rights)) => Some(Steps::new(base, rights)),
        _ => None,
    };
    let early = ops.iter().enumerate();
    let early = early.filter_map(|(at, op)| Some((at, refused(base, &rights, &mut steps, op)?)));
    let early = early.collect();
    let early = failures(true, early);
    if !early.is_empty() {
        return Err(early);
    }
    let (mut shown, mut late) = (Vec::new(), Vec::new());
    for (at, op) in ops.iter().enumerate() {
        match operate(draft, &rights, op) {
            Ok(rows) => shown.extend(rows),
            Err(why) => late.push((at, why)),
        }
    }
    if late.is_empty() { Ok(shown) } else { Err(failures(false, late)) }
}

type Asked<'a> = Option<Result<Rights<'a>, Denied>>;

fn may(rights: &Asked<'_>, need: Need<'_>) -> Result<(), Denied> {
    match rights {
        None => Ok(()),
        Some(Ok(rights)) => rights.may(need),
        Some(Err(denied)) => Err(denied.clone()),
    }
}

/// What is known before anything is tried. Who may not see a key is shown none; to be told
/// whether a condition on it holds is to see it.
fn refused(
    base: &State,
    rights: &Asked<'_>,
    steps: &mut Option<Steps<'_>>,
    op: &SequenceOp,
) -> Option<OpError> {
    let SequenceOp::Key(key, op) = op else {
        let (steps, change) = (steps.as_mut()?, change(op)?);
        return steps.may(&change).err().map(OpError::Denied);
    };
    let allowed = match op {
        KeyOp::Get | KeyOp::GetOrEmpty | KeyOp::GetTree => Ok(()),
        KeyOp::CheckIndex(_) | KeyOp::CheckSession(_) | KeyOp::CheckAbsent => {
            may(rights, Need::Read(&KeyRange::one(key.clone())))
        }
        KeyOp::DeleteTree => may(rights, Need::Write(&KeyRange::prefix(key))),
        KeyOp::Set(_)
        | KeyOp::Cas(..)
        | KeyOp::Lock(..)
        | KeyOp::Unlock(..)
        | KeyOp::Delete
        | KeyOp::DeleteCas(_) => may(rights, Need::Write(&KeyRange::one(key.clone()))),
    };
    match (allowed, op) {
        (Err(denied), _) => Some(OpError::Denied(denied)),
        (Ok(()), KeyOp::Lock(..)) if base.lock_delay(key).is_some() => Some(OpError::Delayed),
        _ => None,
    }
}

/// What a step does to the catalog; nothing where it only looks.
fn change(op: &SequenceOp) -> Option<CatalogOp> {
    let source = Source::Catalog;
    let change = match op {
        SequenceOp::Key(..)
        | SequenceOp::Node(_, RowOp::Get)
        | SequenceOp::Instance(_, RowOp::Get)
        | SequenceOp::Check(_, RowOp::Get) => return None,
        SequenceOp::Node(_, RowOp::Set(def) | RowOp::Cas(def, _)) => {
            CatalogOp::PutNode(def.clone())
        }
        SequenceOp::Node(name, _) => CatalogOp::RemoveNode(name.clone()),
        SequenceOp::Instance(key, RowOp::Set(def) | RowOp::Cas(def, _)) => {
            CatalogOp::PutInstance { node: key.node.clone(), def: def.clone(), source }
        }
        SequenceOp::Instance(key, _) => {
            CatalogOp::RemoveInstance { node: key.node.clone(), id: key.id.clone() }
        }
        SequenceOp::Check(key, RowOp::Set(put) | RowOp::Cas(put, _)) => {
            let CheckPut { def, status, output } = put.clone();
            CatalogOp::PutCheck { node: key.node.clone(), def, status, output, source }
        }
        SequenceOp::Check(key, _) => {
            CatalogOp::RemoveCheck { node: key.node.clone(), id: key.id.clone() }
        }
    };
    Some(change)
}

/// Whether a row of the catalog that was asked for is shown.
fn shows(state: &State, rights: &Asked<'_>, shown: &Shown) -> bool {
    let rights = match rights {
        None => return true,
        Some(Ok(rights)) => rights,
        Some(Err(_)) => return false,
    };
    match shown {
        Shown::Key(..) => true,
        Shown::Node(row) => rights.sees(Resource::Node, &row.def.name),
        Shown::Instance(row) => state.shows_instance(rights, row),
        Shown::Check(row) => state.shows_check(rights, row),
    }
}

fn operate(
    draft: &mut Draft<'_>,
    rights: &Asked<'_>,
    op: &SequenceOp,
) -> Result<Vec<Shown>, OpError> {
    let shown = match op {
        SequenceOp::Key(key, op) => return key_op(draft, rights, key, op),
        SequenceOp::Node(name, op) => {
            let is = draft.state().node(name.as_str()).map(|row| row.modified);
            let gone = CatalogOp::RemoveNode(name.clone());
            step(draft, op, is, |def| CatalogOp::PutNode(def.clone()), gone)?;
            draft.state().node(name.as_str()).cloned().map(Shown::Node)
        }
        SequenceOp::Instance(key, op) => {
            let is = draft.state().instance(&key.node, &key.id).map(|row| row.modified);
            let (node, id, source) = (key.node.clone(), key.id.clone(), Source::Catalog);
            let gone = CatalogOp::RemoveInstance { node: node.clone(), id };
            let put = |def: &ServiceDef| CatalogOp::PutInstance { node, def: def.clone(), source };
            step(draft, op, is, put, gone)?;
            draft.state().instance(&key.node, &key.id).cloned().map(Shown::Instance)
        }
        SequenceOp::Check(key, op) => {
            let is = draft.state().check(&key.node, &key.id).map(|row| row.modified);
            let (node, id, source) = (key.node.clone(), key.id.clone(), Source::Catalog);
            let gone = CatalogOp::RemoveCheck { node: node.clone(), id };
            let put = |put: &CheckPut| {
                let CheckPut { def, status, output } = put.clone();
                CatalogOp::PutCheck { node, def, status, output, source }
            };
            step(draft, op, is, put, gone)?;
            draft.state().check(&key.node, &key.id).cloned().map(Shown::Check)
        }
    };
    let state = draft.state();
    Ok(shown.into_iter().filter(|shown| shows(state, rights, shown)).collect())
}

/// Does what is to be done to a row that was last changed at `is`, and ends whoever lived by it.
fn step<T>(
    draft: &mut Draft<'_>,
    op: &RowOp<T>,
    is: Option<Index>,
    put: impl FnOnce(&T) -> CatalogOp,
    gone: CatalogOp,
) -> Result<(), OpError> {
    let change = match op {
        RowOp::Get if is.is_none() => return Err(OpError::Missing),
        RowOp::Get => return Ok(()),
        RowOp::Set(def) => put(def),
        RowOp::Cas(def, cas) if is.unwrap_or_default() == *cas => put(def),
        RowOp::Delete => gone,
        RowOp::DeleteCas(cas) if is == Some(*cas) => gone,
        RowOp::Cas(..) | RowOp::DeleteCas(_) => return Err(OpError::Stale),
    };
    catalog::operate(draft, &[change]).map_err(OpError::Refused)?;
    sessions::settle(draft);
    Ok(())
}

fn key_op(
    draft: &mut Draft<'_>,
    rights: &Asked<'_>,
    key: &Key,
    op: &KeyOp,
) -> Result<Vec<Shown>, OpError> {
    match op {
        KeyOp::Get | KeyOp::GetOrEmpty | KeyOp::GetTree => {
            return look(draft.state(), rights, key, op);
        }
        KeyOp::CheckIndex(_) | KeyOp::CheckSession(_) | KeyOp::CheckAbsent => {
            check(draft.state().key(key), op)?;
        }
        KeyOp::Set(put) => kv::set(draft, key, &put.value, put.flags, None)?,
        KeyOp::Cas(put, cas) => kv::set(draft, key, &put.value, put.flags, Some(*cas))?,
        KeyOp::Lock(put, session) => kv::acquire(draft, key, &put.value, put.flags, *session)?,
        KeyOp::Unlock(put, session) => kv::release(draft, key, &put.value, put.flags, *session)?,
        KeyOp::Delete => kv::delete(draft, key, None)?,
        KeyOp::DeleteCas(cas) => kv::delete(draft, key, Some(*cas))?,
        KeyOp::DeleteTree => {
            kv::delete_tree(draft, key);
            // A key of that very name is gone, too, and there is nothing to show.
            return Ok(Vec::new());
        }
    }
    let without_value =
        |row: &Arc<KeyRow>| Arc::new(KeyRow { value: Bytes::new(), ..KeyRow::clone(row) });
    let row = draft.state().key(key).map(without_value);
    Ok(row.map(|row| Shown::Key(key.clone(), row)).into_iter().collect())
}

/// What may be seen of what is asked for.
fn look(state: &State, rights: &Asked<'_>, key: &Key, op: &KeyOp) -> Result<Vec<Shown>, OpError> {
    let seen = |key: &Key| may(rights, Need::Read(&KeyRange::one(key.clone()))).is_ok();
    if matches!(op, KeyOp::GetTree) {
        let tree = state.keys_with_prefix(key).filter(|(key, _)| seen(key));
        return Ok(tree.map(|(key, row)| Shown::Key(key.clone(), row.clone())).collect());
    }
    if !seen(key) {
        return Ok(Vec::new());
    }
    let row = match (state.key(key), op) {
        (Some(row), _) => row.clone(),
        (None, KeyOp::GetOrEmpty) => Arc::new(KeyRow {
            value: Bytes::new(),
            create: 0,
            modified: 0,
            version: 0,
            lease: LeaseId::NONE,
            flags: 0,
            lock: None,
        }),
        (None, _) => return Err(OpError::Missing),
    };
    Ok(vec![Shown::Key(key.clone(), row)])
}

fn check(row: Option<&Arc<KeyRow>>, op: &KeyOp) -> Result<(), OpError> {
    match (op, row) {
        (KeyOp::CheckAbsent, None) => Ok(()),
        (KeyOp::CheckAbsent, Some(_)) => Err(OpError::Exists),
        (_, None) => Err(OpError::Missing),
        (KeyOp::CheckIndex(asked), Some(row)) if row.modified != *asked => {
            Err(OpError::StaleAt(row.modified))
        }
        (KeyOp::CheckSession(asked), Some(row)) if row.holder() != *asked => {
            Err(OpError::HeldBy(row.holder()))
        }
        (_, Some(_)) => Ok(()),
    }
}

impl From<Unmet> for OpError {
    fn from(unmet: Unmet) -> OpError {
        match unmet {
            Unmet::Stale => OpError::Stale,
            Unmet::NoSession(id) => OpError::NoSession(id),
            Unmet::Delayed => OpError::Delayed,
            Unmet::Held => OpError::Held,
            Unmet::NotHeld => OpError::NotHeld,
        }
    }
}

/// The steps see each other, the history sees one event of each key: its last. What was deleted on
/// the way is another key afterwards, and one that came and went was never there.
fn fold(draft: &mut Draft<'_>) {
    let (base, revision) = (draft.base(), draft.revision());
    let (mut reborn, mut last) = (BTreeSet::new(), BTreeMap::new());
    for (at, row) in draft.rows().iter().enumerate() {
        if let Change::Key(key, row) = row {
            last.insert(key.clone(), at);
            if row.is_none() {
                reborn.insert(key.clone());
            }
        }
    }
    let folded = |at: usize, row: Change| match row {
        Change::Key(key, _) if last.get(&key) != Some(&at) => None,
        Change::Key(key, None) => base.key(&key).map(|_| Change::Key(key, None)),
        Change::Key(key, Some(row)) => {
            let old = base.key(&key).filter(|_| !reborn.contains(&key));
            let (create, version) = old.map_or((revision, 1), |old| (old.create, old.version + 1));
            let row = KeyRow { create, version, ..KeyRow::clone(&row) };
            Some(Change::Key(key, Some(Arc::new(row))))
        }
        other => Some(other),
    };
    draft.rewrite(|rows| {
        rows.into_iter().enumerate().filter_map(|(at, row)| folded(at, row)).collect()
    });
}

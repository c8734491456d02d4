//! Decides the life of sessions: made, destroyed, expired, ended by what happens to their node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Folded, Health, Index, QueryId, SessionId};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};
use crate::state::rows::{Behavior, CheckKey, Key, KeyRow, LockDelay, SessionDef, SessionRow};

use super::draft::Draft;
use super::keys::{Content, written};
use super::kv::free;

pub(super) fn create(draft: &mut Draft<'_>, def: &SessionDef) -> Result<Outcome, Refusal> {
    let index = draft.index();
    let state = draft.state();
    if def.id == SessionId::NOBODY || state.session(def.id).is_some() {
        return Err(Refusal::SessionExists(def.id));
    }
    is_borne(state, def)?;
    let row = SessionRow { def: def.clone(), index };
    draft.push(Change::Session(def.id, Some(Arc::new(row))));
    Ok(Outcome::Done)
}

/// Whether its node is there, and every check that it lives by is there and is not critical.
pub(super) fn is_borne(state: &State, def: &SessionDef) -> Result<(), Refusal> {
    let node = Folded::new(&def.node);
    if state.node(&def.node).is_none() {
        return Err(Refusal::NoNode(node));
    }
    for id in def.all_checks() {
        match state.check(&node, id) {
            None => return Err(Refusal::NoCheck { node, id: id.clone() }),
            Some(check) if check.status == Health::Critical => {
                return Err(Refusal::CheckIsCritical { node, id: id.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// One that is gone already is no error: its end was decided twice.
pub(super) fn expire(draft: &mut Draft<'_>, ids: &[SessionId]) -> Result<Outcome, Refusal> {
    end(draft, &ids.iter().copied().collect());
    Ok(Outcome::Done)
}

pub(super) fn end_delays(
    draft: &mut Draft<'_>,
    delays: &[(Key, Index)],
) -> Result<Outcome, Refusal> {
    for (key, index) in delays {
        if draft.state().lock_delay(key).is_some_and(|delay| delay.index == *index) {
            draft.push(Change::LockDelay(key.clone(), None));
        }
    }
    Ok(Outcome::Done)
}

/// Ends whatever lived by a node that has gone, or by a check that has gone or turned critical, in
/// the steps so far: one that came back in a later step was gone all the same.
pub(super) fn settle(draft: &mut Draft<'_>) {
    if draft.base().sessions.rows.is_empty() {
        return;
    }
    let (mut nodes, mut checks): (Vec<Folded>, Vec<CheckKey>) = Default::default();
    for row in draft.rows() {
        match row {
            Change::Node(name, None) => nodes.push(name.clone()),
            Change::Check(key, None) => checks.push(key.clone()),
            Change::Check(key, Some(row)) if row.status == Health::Critical => {
                checks.push(key.clone());
            }
            // Everything was replaced, and whoever did it saw to the sessions.
            Change::Rebased(_) => return,
            _ => {}
        }
    }
    if nodes.is_empty() && checks.is_empty() {
        return;
    }
    let state = draft.state();
    let of_nodes = nodes.iter().flat_map(|node| state.sessions_on(node));
    let of_checks = checks.iter().flat_map(|key| {
        let bound = state.sessions_on(&key.node);
        bound.filter(|session| session.def.all_checks().any(|id| *id == key.id))
    });
    let ended = of_nodes.chain(of_checks).map(|session| session.def.id).collect();
    end(draft, &ended);
}

/// With the queries and the keys of all of them, in order, and for as long as each wants nobody
/// takes those.
pub(super) fn end(draft: &mut Draft<'_>, ids: &BTreeSet<SessionId>) {
    let (index, revision) = (draft.index(), draft.revision());
    let state = draft.state();
    let mut held: BTreeMap<Key, (Arc<KeyRow>, Arc<SessionRow>)> = BTreeMap::new();
    let (mut ended, mut queries): (Vec<SessionId>, Vec<QueryId>) = Default::default();
    for session in ids.iter().filter_map(|id| state.session(*id)) {
        ended.push(session.def.id);
        queries.extend(state.session_queries(session.def.id));
        let keys = state.session_keys(session.def.id);
        let rows = keys.filter_map(|key| Some((key.clone(), state.key(key)?.clone())));
        held.extend(rows.map(|(key, row)| (key, (row, session.clone()))));
    }
    for (key, (row, session)) in held {
        let row = match session.def.behavior {
            Behavior::Delete => None,
            Behavior::Release => {
                let KeyRow { value, lease, flags, .. } = &*row;
                let (value, lock) = (value.clone(), free(&row));
                let content = Content { value, lease: *lease, flags: *flags, lock };
                Some(written(Some(&row), revision, content))
            }
        };
        draft.push(Change::Key(key.clone(), row));
        if let Some(lasts) = session.def.delay() {
            draft.push(Change::LockDelay(key, Some(LockDelay { lasts, index })));
        }
    }
    for query in queries {
        draft.push(Change::Query(query, None));
    }
    for id in ended {
        draft.push(Change::Session(id, None));
    }
}

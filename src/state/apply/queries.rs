//! Decides what becomes of prepared queries: made, replaced, deleted.

use std::sync::Arc;

use crate::model::QueryId;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};
use crate::state::query::{QueryDef, QueryRefusal, QueryRow};

use super::draft::Draft;

/// One that is replaced has to be there, one that is new must not.
pub(super) fn put(draft: &mut Draft<'_>, def: &QueryDef, new: bool) -> Result<Outcome, Refusal> {
    let index = draft.index();
    let state = draft.state();
    let old = state.query(def.id);
    let create = match (old, new) {
        (Some(_), true) => return Err(QueryRefusal::Exists(def.id).into()),
        (None, false) => return Err(QueryRefusal::NotFound(def.id).into()),
        (Some(old), false) => old.create,
        (None, true) => index,
    };
    if let Some(session) = def.session.filter(|session| state.session(*session).is_none()) {
        return Err(Refusal::SessionNotFound(session));
    }
    state.queries.check(def)?;
    if old.is_none_or(|old| old.def != *def) {
        let row = QueryRow { def: def.clone(), create, modified: index };
        draft.push(Change::Query(def.id, Some(Arc::new(row))));
    }
    Ok(Outcome::Done)
}

pub(super) fn delete(draft: &mut Draft<'_>, id: QueryId) -> Result<Outcome, Refusal> {
    if draft.state().query(id).is_none() {
        return Err(QueryRefusal::NotFound(id).into());
    }
    draft.push(Change::Query(id, None));
    Ok(Outcome::Done)
}

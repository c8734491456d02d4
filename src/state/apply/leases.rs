//! Decides the life of leases: granted, revoked, expired; their keys go with them.

use std::time::Duration;

use crate::model::LeaseId;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};
use crate::state::rows::{Key, LeaseRow};

use super::draft::Draft;

pub(super) fn grant(draft: &mut Draft<'_>, id: LeaseId, ttl: Duration) -> Result<Outcome, Refusal> {
    if id.is_none() {
        return Err(Refusal::LeaseNotFound(id));
    }
    if draft.state().leases.contains_key(&id) {
        return Err(Refusal::LeaseExists(id));
    }
    let index = draft.index();
    draft.push(Change::Lease(id, Some(LeaseRow { id, ttl, index })));
    Ok(Outcome::Done)
}

pub(super) fn revoke(draft: &mut Draft<'_>, id: LeaseId) -> Result<Outcome, Refusal> {
    if end(draft, id) { Ok(Outcome::Done) } else { Err(Refusal::LeaseNotFound(id)) }
}

/// Ends many leases at once. One that is gone already is no error: its end was decided twice.
pub(super) fn expire(draft: &mut Draft<'_>, ids: &[LeaseId]) -> Result<Outcome, Refusal> {
    for id in ids {
        end(draft, *id);
    }
    Ok(Outcome::Done)
}

fn end(draft: &mut Draft<'_>, id: LeaseId) -> bool {
    let state = draft.state();
    if !state.leases.contains_key(&id) {
        return false;
    }
    let keys: Vec<Key> = state.lease_keys(id).cloned().collect();
    for key in keys {
        draft.push(Change::Key(key, None));
    }
    draft.push(Change::Lease(id, None));
    true
}

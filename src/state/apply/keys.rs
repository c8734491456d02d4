//! Decides writes of keys in etcd's terms, and what is forgotten of their past.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{LeaseId, Revision, Stamp, limits};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{DeleteRange, Outcome, Put, Refusal};
use crate::state::rows::{Key, KeyRow, Lock};

use super::draft::Draft;

pub(super) fn valid(key: &Key) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(Refusal::EmptyKey),
        len if len > limits::KEY => Err(Refusal::KeyTooLong { len, max: limits::KEY }),
        _ => Ok(()),
    }
}

/// What a write puts into a row.
pub(super) struct Content {
    pub(super) value: Bytes,
    pub(super) lease: LeaseId,
    pub(super) flags: u64,
    pub(super) lock: Option<Arc<Lock>>,
}

/// The row that a write over `old` makes.
pub(super) fn written(
    old: Option<&Arc<KeyRow>>,
    revision: Revision,
    content: Content,
) -> Arc<KeyRow> {
    let (create, version) = old.map_or((revision, 1), |old| (old.create, old.version + 1));
    let Content { value, lease, flags, lock } = content;
    Arc::new(KeyRow { value, create, modified: revision, version, lease, flags, lock })
}

/// Whether the lease that a put names is there.
pub(super) fn has_lease(state: &State, put: &Put) -> Result<(), Refusal> {
    let known = put.lease.is_none() || state.leases.contains_key(&put.lease);
    if known { Ok(()) } else { Err(Refusal::LeaseNotFound(put.lease)) }
}

/// Whether what a put leaves as it is is there.
pub(super) fn has_key(state: &State, put: &Put) -> Result<(), Refusal> {
    let keeps = put.ignore_value || put.ignore_lease;
    let known = !keeps || state.keys.contains_key(&put.key);
    if known { Ok(()) } else { Err(Refusal::KeyNotFound) }
}

pub(super) fn put(draft: &mut Draft<'_>, put: &Put) -> Result<Outcome, Refusal> {
    valid(&put.key)?;
    let revision = draft.revision();
    let state = draft.state();
    let old = state.keys.get(&put.key).cloned();
    has_lease(state, put)?;
    has_key(state, put)?;
    let lease = match &old {
        Some(old) if put.ignore_lease => old.lease,
        _ => put.lease,
    };
    let value = match &old {
        Some(old) if put.ignore_value => old.value.clone(),
        _ => put.value.clone(),
    };
    // What etcd does not see stays as it is.
    let flags = old.as_ref().map_or(0, |old| old.flags);
    let lock = old.as_ref().and_then(|old| old.lock.clone());
    let row = written(old.as_ref(), revision, Content { value, lease, flags, lock });
    draft.push(Change::Key(put.key.clone(), Some(row)));
    Ok(Outcome::Put { prev: old.filter(|_| put.prev_kv), revision })
}

pub(super) fn delete_range(
    draft: &mut Draft<'_>,
    delete: &DeleteRange,
) -> Result<Outcome, Refusal> {
    if delete.range.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let gone: Vec<(Key, Arc<KeyRow>)> =
        draft.state().keys_in(&delete.range).map(|(k, r)| (k.clone(), r.clone())).collect();
    for (key, _) in &gone {
        draft.push(Change::Key(key.clone(), None));
    }
    let count = gone.len() as u64;
    let revision = if count > 0 { draft.revision() } else { draft.base().revision() };
    let prev = if delete.prev_kv { gone } else { Vec::new() };
    Ok(Outcome::Deleted { count, prev, revision })
}

pub(super) fn compact(draft: &mut Draft<'_>, revision: Revision) -> Result<Outcome, Refusal> {
    let current = draft.base().revision();
    if revision > current {
        return Err(Refusal::FutureRevision { asked: revision, current });
    }
    let compacted = draft.base().history().map_or(0, |history| history.compacted());
    if (revision, compacted) == (0, 0) {
        return Ok(Outcome::Done);
    }
    if revision <= compacted {
        return Err(Refusal::Compacted { asked: revision, compacted });
    }
    draft.push(Change::Compacted(revision));
    Ok(Outcome::Done)
}

/// Housekeeping by age. Deletions are forgotten up to a revision, the floor; where there are more
/// than the table may hold, the oldest go early.
pub(super) fn forget(draft: &mut Draft<'_>, tombstones: Stamp, history: Stamp) {
    let state = draft.base();
    let surplus = state.deletions.len().saturating_sub(limits::TOMBSTONES);
    let going = state.deletions.iter().enumerate().take_while(|(nth, (_, key))| {
        *nth < surplus || state.tombstones.get(key).is_some_and(|kept| kept.at < tombstones)
    });
    if let Some((_, (floor, _))) = going.last() {
        draft.push(Change::Floor(*floor));
    }
    let past = state
        .history()
        .and_then(|past| past.last_before(history).filter(|revision| *revision > past.compacted()));
    if let Some(revision) = past {
        draft.push(Change::Compacted(revision));
    }
}

//! Decides writes of keys in Consul's terms, alone or as steps of a transaction.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{LeaseId, Revision, SessionId};
use crate::state::change::Change;
use crate::state::command::{KvCommand, Outcome, Refusal};
use crate::state::rows::{Key, KeyRow, Lock};

use super::draft::Draft;
use super::keys::{Content, valid, written};

/// Why a step does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmet {
    /// The key is at another revision.
    Stale,
    NoSession(SessionId),
    /// Nobody may take the key for now.
    Delayed,
    /// Another session has the key.
    Held,
    /// The session does not have the key.
    NotHeld,
}

pub(super) fn kv(draft: &mut Draft<'_>, command: &KvCommand) -> Result<Outcome, Refusal> {
    let done = match command {
        KvCommand::Set { key, value, flags, cas } => {
            valid(key)?;
            set(draft, key, value, *flags, *cas)
        }
        KvCommand::Delete { key, cas } => {
            valid(key)?;
            delete(draft, key, *cas)
        }
        KvCommand::DeleteTree { prefix } => {
            delete_tree(draft, prefix);
            Ok(())
        }
        KvCommand::Acquire { key, value, flags, session } => {
            valid(key)?;
            acquire(draft, key, value, *flags, *session)
        }
        KvCommand::Release { key, value, flags, session } => {
            valid(key)?;
            release(draft, key, value, *flags, *session)
        }
    };
    match done {
        Ok(()) => Ok(Outcome::Kv(true)),
        Err(Unmet::NoSession(id)) => Err(Refusal::SessionNotFound(id)),
        Err(_) => Ok(Outcome::Kv(false)),
    }
}

/// A `cas` of 0 wants the key to be absent.
pub(super) fn set(
    draft: &mut Draft<'_>,
    key: &Key,
    value: &Bytes,
    flags: u64,
    cas: Option<Revision>,
) -> Result<(), Unmet> {
    let old = draft.state().key(key).cloned();
    if cas.is_some_and(|cas| cas != old.as_ref().map_or(0, |old| old.modified)) {
        return Err(Unmet::Stale);
    }
    let lock = old.as_ref().and_then(|old| old.lock.clone());
    put(draft, key, old.as_ref(), content(value, flags, lock));
    Ok(())
}

/// Who has the key already may go on writing it so.
pub(super) fn acquire(
    draft: &mut Draft<'_>,
    key: &Key,
    value: &Bytes,
    flags: u64,
    session: SessionId,
) -> Result<(), Unmet> {
    let state = draft.state();
    if state.lock_delay(key).is_some() {
        return Err(Unmet::Delayed);
    }
    if state.session(session).is_none() {
        return Err(Unmet::NoSession(session));
    }
    let old = state.key(key).cloned();
    let lock = match old.as_ref().and_then(|old| old.lock.clone()) {
        Some(lock) if lock.holder == Some(session) => lock,
        Some(lock) if lock.holder.is_some() => return Err(Unmet::Held),
        freed => {
            let index = freed.map_or(0, |lock| lock.index) + 1;
            Arc::new(Lock { holder: Some(session), index })
        }
    };
    put(draft, key, old.as_ref(), content(value, flags, Some(lock)));
    Ok(())
}

/// Value and flags are put all the same.
pub(super) fn release(
    draft: &mut Draft<'_>,
    key: &Key,
    value: &Bytes,
    flags: u64,
    session: SessionId,
) -> Result<(), Unmet> {
    let old = draft.state().key(key).cloned();
    let held = old.as_ref().filter(|old| old.holder() == Some(session));
    let held = held.ok_or(Unmet::NotHeld)?;
    put(draft, key, old.as_ref(), content(value, flags, free(held)));
    Ok(())
}

/// The lock of a key that is let go.
pub(super) fn free(held: &KeyRow) -> Option<Arc<Lock>> {
    Some(Arc::new(Lock { holder: None, index: held.lock_index() }))
}

/// A key that is not there is gone, whatever `cas` says.
pub(super) fn delete(draft: &mut Draft<'_>, key: &Key, cas: Option<Revision>) -> Result<(), Unmet> {
    let Some(old) = draft.state().key(key) else { return Ok(()) };
    if cas.is_some_and(|cas| cas != old.modified) {
        return Err(Unmet::Stale);
    }
    draft.push(Change::Key(key.clone(), None));
    Ok(())
}

pub(super) fn delete_tree(draft: &mut Draft<'_>, prefix: &[u8]) {
    let gone: Vec<Key> =
        draft.state().keys_with_prefix(prefix).map(|(key, _)| key.clone()).collect();
    for key in gone {
        draft.push(Change::Key(key, None));
    }
}

/// A write of Consul's is one without a lease.
fn content(value: &Bytes, flags: u64, lock: Option<Arc<Lock>>) -> Content {
    Content { value: value.clone(), lease: LeaseId::NONE, flags, lock }
}

/// What changes nothing is no write.
fn put(draft: &mut Draft<'_>, key: &Key, old: Option<&Arc<KeyRow>>, content: Content) {
    let row = written(old, draft.revision(), content);
    let same = old.is_some_and(|old| {
        (&old.value, old.flags, old.lease, &old.lock)
            == (&row.value, row.flags, row.lease, &row.lock)
    });
    if !same {
        draft.push(Change::Key(key.clone(), Some(row)));
    }
}

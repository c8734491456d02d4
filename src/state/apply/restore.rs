//! Decides what takes the place of everything: a backup, or what one surviving server still has.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Folded, Index, NodeId, Revision, Role, Source, limits};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};
use crate::state::rows::{Key, SessionRow};
use crate::state::staging::Piece;

use super::accounts;
use super::acl;
use super::draft::Draft;
use super::members;
use super::sessions;

/// By how much counters jump where the newest of what was acknowledged may be lost: nothing that
/// is given out from then on was given out before.
const UNSEEN_IDS: u64 = 1 << 10;
const UNSEEN_REVISIONS: Revision = 1 << 20;
const UNSEEN_INDEXES: Index = 1 << 20;

pub(super) fn stage(
    draft: &mut Draft<'_>,
    id: u128,
    offset: u64,
    bytes: &Bytes,
) -> Result<Outcome, Refusal> {
    let now = draft.stamp();
    let refused = |why: String| Err(Refusal::Restore(why));
    let begun = match &draft.base().staging {
        Some(staging) if staging.id == id => staging.bytes,
        Some(other) if now.since(other.at) < limits::STAGING_IDLE && offset == 0 => {
            return refused("another backup is being restored".to_owned());
        }
        _ => 0,
    };
    if offset != begun {
        return refused(format!("a piece at {offset} came where {begun} was due"));
    }
    if offset.saturating_add(bytes.len() as u64) > limits::BACKUP as u64 {
        return refused(format!("a backup of more than {} bytes is too large", limits::BACKUP));
    }
    draft.push(Change::Staged(Some(Piece { id, at: now, offset, bytes: bytes.clone() })));
    Ok(Outcome::Done)
}

pub(super) fn unstage(draft: &mut Draft<'_>, id: u128) -> Outcome {
    if draft.base().staging.as_ref().is_some_and(|staging| staging.id == id) {
        draft.push(Change::Staged(None));
    }
    Outcome::Done
}

/// Keys, leases and what no agent runs are as in the backup; members and settings, and what the
/// members' own agents run, stay as they are here: those agents would set it right at once.
pub(super) fn restore(draft: &mut Draft<'_>, id: u128, lineage: u64) -> Result<Outcome, Refusal> {
    let base = draft.base();
    let staging = base.staging.as_ref().filter(|staging| staging.id == id);
    let staging = staging.ok_or_else(|| Refusal::Restore("nothing was staged".to_owned()))?;
    let backup = staging.read().map_err(|error| Refusal::Restore(error.to_string()))?;
    if backup.identity.level > base.identity.level {
        return Err(Refusal::Level { asked: backup.identity.level, current: base.identity.level });
    }
    let revision = base.revision.max(backup.revision) + 1;
    draft.jump(base.index.max(backup.index) + 1, revision);
    let mut identity = base.identity.clone();
    (identity.lineage, identity.restored) = (lineage, revision);
    draft.push(Change::Identity(identity));
    keys(draft, base, &backup);
    accounts::restore(draft, base, &backup);
    acl::restore(draft, base, &backup);
    catalog(draft, base, &backup);
    queries(draft, base, &backup);
    sessions(draft, base, &backup);
    draft.push(Change::Rebased(revision));
    draft.push(Change::Staged(None));
    Ok(Outcome::Restored { revision, keys: backup.keys.len() as u64 })
}

fn keys(draft: &mut Draft<'_>, base: &State, backup: &State) {
    for lease in base.leases.keys().filter(|id| !backup.leases.contains_key(*id)) {
        draft.push(Change::Lease(*lease, None));
    }
    for (id, lease) in &backup.leases {
        draft.push(Change::Lease(*id, Some(lease.clone())));
    }
    let gone: Vec<&Key> = base.keys.keys().filter(|key| !backup.keys.contains_key(*key)).collect();
    for key in gone {
        draft.push(Change::Key(key.clone(), None));
    }
    for (key, row) in &backup.keys {
        draft.push(Change::Key(key.clone(), Some(row.clone())));
    }
}

/// Those whose session did not come go with it. The events that were fired are this cluster's.
fn queries(draft: &mut Draft<'_>, base: &State, backup: &State) {
    for id in base.queries.rows.keys().filter(|id| backup.query(**id).is_none()) {
        draft.push(Change::Query(*id, None));
    }
    for (id, row) in &backup.queries.rows {
        draft.push(Change::Query(*id, Some(row.clone())));
    }
    if backup.autopilot.modified > 0 {
        draft.push(Change::Autopilot(backup.autopilot.clone()));
    }
}

/// They come with the keys that they hold; those whose node did not come end at once.
fn sessions(draft: &mut Draft<'_>, base: &State, backup: &State) {
    for id in base.sessions.rows.keys().filter(|id| backup.session(**id).is_none()) {
        draft.push(Change::Session(*id, None));
    }
    for key in base.sessions.delays.keys().filter(|key| backup.lock_delay(key).is_none()) {
        draft.push(Change::LockDelay(key.clone(), None));
    }
    for (id, row) in &backup.sessions.rows {
        draft.push(Change::Session(*id, Some(row.clone())));
    }
    for (key, delay) in &backup.sessions.delays {
        draft.push(Change::LockDelay(key.clone(), Some(*delay)));
    }
    let state = draft.state();
    let borne = |row: &&Arc<SessionRow>| sessions::is_borne(state, &row.def).is_ok();
    let lost = state.sessions().filter(|row| !borne(row)).map(|row| row.def.id).collect();
    sessions::end(draft, &lost);
}

fn catalog(draft: &mut Draft<'_>, base: &State, backup: &State) {
    let live = |name: &Folded| {
        let agent = base.catalog.nodes.get(name).and_then(|node| node.row.def.agent);
        agent.is_some_and(|agent| base.members.contains_key(&agent))
    };
    for name in base.catalog.nodes.keys().filter(|name| !live(name)) {
        for key in base.catalog.checks_on(name) {
            draft.push(Change::Check(key, None));
        }
        for key in base.catalog.instances_on(name) {
            draft.push(Change::Instance(key, None));
        }
        draft.push(Change::Node(name.clone(), None));
    }
    for (name, node) in &backup.catalog.nodes {
        let alive = live(name);
        if !alive && node.row.def.agent.is_some() {
            // Its agent is no member here; once it is, it says itself what it runs.
            continue;
        }
        if !alive {
            draft.push(Change::Node(name.clone(), Some(node.row.clone())));
        }
        let theirs = |source: Source| !alive || source == Source::Catalog;
        for key in backup.catalog.instances_on(name) {
            let row = backup.catalog.instances.get(&key).map(|entry| entry.row.clone());
            if row.as_ref().is_some_and(|row| theirs(row.source)) {
                draft.push(Change::Instance(key, row));
            }
        }
        for key in backup.catalog.checks_on(name) {
            let row = backup.catalog.checks.get(&key).cloned();
            if row.as_ref().is_some_and(|row| theirs(row.source)) {
                draft.push(Change::Check(key, row));
            }
        }
    }
}

/// One server goes on alone with what it has: the others are no members any more.
pub(super) fn recover(
    draft: &mut Draft<'_>,
    survivor: NodeId,
    lineage: u64,
) -> Result<Outcome, Refusal> {
    let base = draft.base();
    if base.members.get(&survivor).is_none_or(|member| member.role != Role::Server) {
        return Err(Refusal::NoMember(survivor));
    }
    let lost = base.members.values().filter(|m| m.role == Role::Server && m.id != survivor);
    for member in lost {
        members::retire(draft, member.id)?;
    }
    let revision = base.revision + UNSEEN_REVISIONS;
    draft.jump(base.index + UNSEEN_INDEXES, revision);
    let mut identity = base.identity.clone();
    (identity.lineage, identity.restored) = (lineage, revision);
    identity.next_node += UNSEEN_IDS;
    draft.push(Change::Identity(identity));
    // Their keys are to be in the history that begins now.
    sessions::settle(draft);
    draft.push(Change::Rebased(revision));
    Ok(Outcome::Restored { revision, keys: base.keys.len() as u64 })
}

//! Decides what alarms and the quota allow, and what gives way before a write is refused.

use std::collections::BTreeMap;

use crate::model::{LeaseId, NodeId, Role, SessionId, limits};
use crate::state::State;
use crate::state::alarms::{Alarm, AlarmKind, RaisedBy};
use crate::state::change::Change;
use crate::state::command::{Command, KvCommand, Outcome, Refusal};
use crate::state::rows::{Key, Settings};
use crate::state::sequence::SequenceOp;
use crate::state::size;
use crate::state::txn::{Txn, TxnOp};

use super::draft::Draft;

/// Whether the alarms that are raised leave the command its way.
pub(super) fn allows(state: &State, command: &Command) -> Result<(), Refusal> {
    if state.alarms.is_empty() {
        return Ok(());
    }
    if state.has_alarm(AlarmKind::Corrupt) && is_write(command) {
        return Err(Refusal::Corrupt);
    }
    if state.has_alarm(AlarmKind::NoSpace) && grows(command) {
        return Err(Refusal::NoSpace);
    }
    Ok(())
}

/// What clients do to keys, leases and sessions. The end of one that nobody keeps alive is none
/// of it.
fn is_write(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Kv(_)
        | Command::Compact(_)
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke(_)
        | Command::SessionCreate(_)
        | Command::SessionDestroy(_) => true,
        Command::Txn(txn) => !txn.is_read_only(),
        Command::Sequence(ops) => ops.iter().any(SequenceOp::writes_key),
        _ => false,
    }
}

fn grows(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::LeaseGrant { .. }
        | Command::SessionCreate(_)
        | Command::Kv(KvCommand::Set { .. } | KvCommand::Acquire { .. }) => true,
        Command::Txn(txn) => puts(txn),
        Command::Sequence(ops) => ops.iter().any(SequenceOp::grows),
        _ => false,
    }
}

/// Whether any branch does.
fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(txn) => puts(txn),
        TxnOp::Range(_) | TxnOp::Delete(_) => false,
    })
}

/// Whether it lets a key go, and puts a value at that: where there is no room it may make none
/// less, for others wait for the key.
fn releases(command: &Command) -> bool {
    match command {
        Command::Kv(KvCommand::Release { .. }) => true,
        Command::Sequence(ops) => ops.iter().any(SequenceOp::releases),
        _ => false,
    }
}

/// Whether what was decided fits.
pub(super) fn fits(draft: &Draft<'_>, command: &Command) -> Result<(), Refusal> {
    let (state, quota) = (draft.base(), settings(draft).quota);
    let most = match (grows(command), releases(command)) {
        (true, _) => quota,
        (false, true) => quota.max(state.live_size()),
        (false, false) => return Ok(()),
    };
    if state.live_size() + added(draft) <= quota || live_after(draft) <= most {
        return Ok(());
    }
    Err(Refusal::NoSpace)
}

/// Below this there is room again: a tenth of the quota is free.
fn is_roomy(size: u64, quota: u64) -> bool {
    size <= quota - quota / 10
}

/// The quota was reached: until there is room again nobody has to try. Where there is, and a single
/// write was too large for it, others may.
pub(super) fn raise(draft: &mut Draft<'_>) {
    let (state, quota) = (draft.base(), settings(draft).quota);
    if state.has_alarm(AlarmKind::NoSpace) || is_roomy(state.live_size(), quota) {
        return;
    }
    // All servers hold the same, and etcd's alarms are of one.
    let mut servers = state.members.values().filter(|member| member.role == Role::Server);
    let member = servers.next().map_or(NodeId(0), |member| member.id);
    let alarm = Alarm { kind: AlarmKind::NoSpace, member };
    draft.push(Change::Alarm(alarm, Some(RaisedBy::Quota)));
}

/// After what was decided: the past makes room for the present, and an alarm that the quota raised
/// ends once there is room.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let state = draft.base();
    let raised = state.alarms.iter().find(|(_, by)| **by == RaisedBy::Quota);
    let quota = settings(draft).quota;
    if let Some((alarm, _)) = raised
        && is_roomy(live_after(draft), quota)
    {
        draft.push(Change::Alarm(*alarm, None));
    }
    if state.size() + added(draft) > quota
        && draft.rows().iter().any(|row| matches!(row, Change::Key(..)))
        && !draft.rows().iter().any(|row| matches!(row, Change::Rebased(_)))
        && let Some(revision) = state.relief(size::STEP)
    {
        draft.push(Change::Compacted(revision));
    }
}

/// Bytes that the rows put, whatever they take the place of.
fn added(draft: &Draft<'_>) -> u64 {
    let weight = |row: &Change| match row {
        // Of a key that goes there is one more version.
        Change::Key(key, None) => size::version(key, None),
        row => weighed(row).map_or(0, |(_, weight)| weight),
    };
    draft.rows().iter().map(weight).sum()
}

/// What has a weight of its own.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Thing<'a> {
    Key(&'a Key),
    Lease(LeaseId),
    Session(SessionId),
    Delay(&'a Key),
}

impl Thing<'_> {
    /// What it weighs in a state, where it is there.
    fn weight(&self, state: &State) -> u64 {
        let weight = match self {
            Thing::Key(key) => state.key(key).map(|row| size::version(key, Some(row))),
            Thing::Lease(id) => state.lease(*id).map(|_| size::LEASE),
            Thing::Session(id) => state.session(*id).map(|row| size::session(row)),
            Thing::Delay(key) => state.lock_delay(key).map(|_| size::delay(key)),
        };
        weight.unwrap_or_default()
    }
}

/// What a row is of, and what that weighs with it.
fn weighed(row: &Change) -> Option<(Thing<'_>, u64)> {
    let (thing, weight) = match row {
        Change::Key(key, row) => {
            (Thing::Key(key), row.as_deref().map(|row| size::version(key, Some(row))))
        }
        Change::Lease(id, row) => (Thing::Lease(*id), row.as_ref().map(|_| size::LEASE)),
        Change::Session(id, row) => (Thing::Session(*id), row.as_deref().map(size::session)),
        Change::LockDelay(key, delay) => (Thing::Delay(key), delay.map(|_| size::delay(key))),
        _ => return None,
    };
    Some((thing, weight.unwrap_or_default()))
}

/// `State::live_size` once the rows are absorbed. The last row of each thing is what stays.
fn live_after(draft: &Draft<'_>) -> u64 {
    let state = draft.base();
    let after: BTreeMap<Thing<'_>, u64> = draft.rows().iter().filter_map(weighed).collect();
    let gone: u64 = after.keys().map(|thing| thing.weight(state)).sum();
    (state.live_size() + after.values().sum::<u64>()).saturating_sub(gone)
}

/// As they are once the rows are absorbed.
fn settings<'a>(draft: &'a Draft<'_>) -> &'a Settings {
    let newest = draft.rows().iter().rev().find_map(|row| match row {
        Change::Identity(identity) => Some(&identity.settings),
        _ => None,
    });
    newest.unwrap_or(&draft.base().identity.settings)
}

/// An operator raises an alarm, or ends one, whoever raised it.
pub(super) fn alarm(draft: &mut Draft<'_>, alarm: Alarm, on: bool) -> Result<Outcome, Refusal> {
    let alarms = &draft.base().alarms;
    let before = alarms.get(&alarm).copied();
    if on && before.is_none() && alarms.len() >= limits::ALARMS {
        return Err(Refusal::TooManyAlarms(alarms.len()));
    }
    let after = on.then_some(RaisedBy::Client);
    if before != after {
        draft.push(Change::Alarm(alarm, after));
    }
    Ok(Outcome::Alarm(on || before.is_some()))
}

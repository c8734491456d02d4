//! What a snapshot's sections hold: the rows of each table, written in order and put back.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::{AccountChange, Accounts, Acl, AclChange, PasswordHash, Sealed};
use crate::model::{
    AclId, Applied, Folded, Index, LeaseId, Member, NodeId, Revision, Stamp, TokenId,
};

use super::State;
use super::alarms::{Alarm, RaisedBy};
use super::autopilot::AutopilotRow;
use super::catalog::TableIndexes;
use super::events::EventDef;
use super::history::{History, KeyEvent};
use super::loading::Strings;
use super::query::QueryRow;
use super::recent::Recent;
use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, LockDelay,
    NodeRow, SessionRow, TokenRow, Tombstone,
};
use super::size;
use super::snapshot::{Part, Sealer, SnapshotError};
use super::staging::{Piece, Staging};
use super::topic::Touch;

const HEAD: u8 = 1;
const MEMBERS: u8 = 2;
const KEYS: u8 = 3;
const TOMBSTONES: u8 = 4;
const LEASES: u8 = 5;
const NODES: u8 = 6;
const INSTANCES: u8 = 7;
const CHECKS: u8 = 8;
/// The indexes cannot be derived from the rows: what moved them may have gone since.
const NODE_INDEXES: u8 = 9;
const SERVICE_INDEXES: u8 = 10;
const ALARMS: u8 = 11;
/// Users and roles, and whether they count; of who never had any, nothing.
const ACCOUNTS: u8 = 12;
const SESSIONS: u8 = 13;
const LOCK_DELAYS: u8 = 14;
const QUERIES: u8 = 15;
const EVENTS: u8 = 16;
/// Of whom nobody has ever set, nothing.
const AUTOPILOT: u8 = 17;
/// Policies, roles and tokens, and whether they count; of who never had any, nothing.
const ACL: u8 = 18;
/// From here on the server part.
const HISTORY: u8 = 128;
/// Versions that a compaction left are not in the log: they come apart.
const KEPT: u8 = 129;
/// One event of a past revision after the other.
const PAST: u8 = 130;
const TOKENS: u8 = 131;
/// The pieces of a backup that is being restored.
const STAGED: u8 = 132;
const PASSWORDS: u8 = 133;
const SECRETS: u8 = 134;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    applied: Applied,
    stamp: Stamp,
    index: Index,
    revision: Revision,
    floor: Revision,
    identity: Identity,
    table_indexes: [Index; 7],
}

/// What a revision left of a key. A row that still is current stands in the shared part alone.
#[derive(Serialize, Deserialize)]
enum Version {
    Deleted,
    Current,
    Past(Arc<KeyRow>),
}

/// Gives every row of a part of the state to the sealer.
pub(super) fn write<E, S: FnMut(&[u8]) -> Result<(), E>>(
    state: &State,
    part: Part,
    out: &mut Sealer<S>,
) -> Result<(), E> {
    out.row(HEAD, &head(state))?;
    state.members.iter().try_for_each(|row| out.row(MEMBERS, &row))?;
    state.keys.iter().try_for_each(|row| out.row(KEYS, &row))?;
    state.tombstones.iter().try_for_each(|row| out.row(TOMBSTONES, &row))?;
    state.leases.iter().try_for_each(|row| out.row(LEASES, &row))?;
    let catalog = &state.catalog;
    catalog.nodes.iter().try_for_each(|(name, node)| out.row(NODES, &(name, &node.row)))?;
    let mut instances = catalog.instances.iter();
    instances.try_for_each(|(key, instance)| out.row(INSTANCES, &(key, &instance.row)))?;
    catalog.checks.iter().try_for_each(|row| out.row(CHECKS, &row))?;
    let mut nodes = catalog.nodes.iter();
    nodes.try_for_each(|(name, node)| out.row(NODE_INDEXES, &(name, node.indexes())))?;
    let mut services = catalog.services.iter();
    services.try_for_each(|(name, entry)| out.row(SERVICE_INDEXES, &(name, entry.indexes())))?;
    state.alarms.iter().try_for_each(|row| out.row(ALARMS, &row))?;
    state.sessions.rows.values().try_for_each(|row| out.row(SESSIONS, row))?;
    state.sessions.delays.iter().try_for_each(|row| out.row(LOCK_DELAYS, &row))?;
    write_accounts(&state.accounts, out)?;
    state.queries.rows.values().try_for_each(|row| out.row(QUERIES, row))?;
    state.events.iter().try_for_each(|row| out.row(EVENTS, &row))?;
    if state.autopilot.modified > 0 {
        out.row(AUTOPILOT, &state.autopilot)?;
    }
    write_acl(&state.acl, out)?;
    match (part, &state.history) {
        (Part::Server, Some(history)) => {
            write_history(state, history, out)?;
            state.tokens.iter().try_for_each(|row| out.row(TOKENS, &row))?;
            state.passwords.iter().try_for_each(|row| out.row(PASSWORDS, &row))?;
            state.secrets.iter().try_for_each(|row| out.row(SECRETS, &row))
        }
        _ => Ok(()),
    }
}

fn write_accounts<E, S: FnMut(&[u8]) -> Result<(), E>>(
    accounts: &Accounts,
    out: &mut Sealer<S>,
) -> Result<(), E> {
    if accounts.are_untouched() {
        return Ok(());
    }
    accounts.rows().try_for_each(|row| out.row(ACCOUNTS, &row))
}

fn write_acl<E, S: FnMut(&[u8]) -> Result<(), E>>(acl: &Acl, out: &mut Sealer<S>) -> Result<(), E> {
    if acl.is_untouched() {
        return Ok(());
    }
    acl.rows().try_for_each(|row| out.row(ACL, &row))
}

fn head(state: &State) -> Head {
    let TableIndexes { nodes, services, checks, lost_node, lost_service } = state.catalog.indexes;
    let (sessions, queries) = (state.sessions.index, state.queries.index);
    Head {
        applied: state.applied,
        stamp: state.stamp,
        index: state.index,
        revision: state.revision,
        floor: state.floor,
        identity: state.identity.clone(),
        table_indexes: [nodes, services, checks, lost_node, lost_service, sessions, queries],
    }
}

fn write_history<E, S: FnMut(&[u8]) -> Result<(), E>>(
    state: &State,
    history: &History,
    out: &mut Sealer<S>,
) -> Result<(), E> {
    let version = |key: &Key, revision, row: &Option<Arc<KeyRow>>| match row {
        None => Version::Deleted,
        Some(row) => match state.keys.get(key) {
            Some(current) if current.modified == revision => Version::Current,
            _ => Version::Past(row.clone()),
        },
    };
    out.row(HISTORY, &(history.compacted, history.compacted_before))?;
    if let Some(Staging { id, at, pieces, .. }) = &state.staging {
        for (offset, bytes) in pieces {
            let piece = Piece { id: *id, at: *at, offset: *offset, bytes: bytes.clone() };
            out.row(STAGED, &piece)?;
        }
    }
    for ((key, at), row) in &history.versions {
        if *at <= history.compacted {
            out.row(KEPT, &(key, at, version(key, *at, row)))?;
        }
    }
    for (revision, log) in &history.log {
        for KeyEvent { key, row } in &log.events {
            out.row(PAST, &(revision, log.at, key, version(key, *revision, row)))?;
        }
    }
    Ok(())
}

/// Why a section's rows cannot be taken.
pub(super) enum Unfit {
    Garbled(String),
    Astray(Revision),
}

/// A state in the making.
#[derive(Default)]
pub(super) struct Tables {
    state: State,
    head: Option<Head>,
    history: Option<History>,
    /// The revision whose events are coming in.
    past: Option<(Revision, Stamp, Vec<KeyEvent>)>,
    strings: Strings,
}

impl Tables {
    /// Takes the rows of one section. Kinds that are not known come from a later release.
    pub(super) fn take(&mut self, kind: u8, part: Part, rows: &[u8]) -> Result<(), Unfit> {
        let state = &mut self.state;
        match kind {
            HEAD => each(rows, |head: Head| self.head = Some(head)),
            MEMBERS => each(rows, |(id, row): (NodeId, Arc<Member>)| {
                state.members.insert(id, row);
            }),
            KEYS => each(rows, |(key, row): (Key, Arc<KeyRow>)| {
                if !row.lease.is_none() {
                    state.lease_keys.entry(row.lease).or_default().insert(key.clone());
                }
                state.sessions.pass(&key, None, row.holder());
                state.keys_size += size::version(&key, Some(&row));
                state.keys.insert(key, row);
            }),
            TOMBSTONES => each(rows, |(key, row): (Key, Tombstone)| state.remember(&key, row)),
            LEASES => each(rows, |(id, row): (LeaseId, LeaseRow)| {
                state.leases.insert(id, row);
            }),
            NODES => each(rows, |(name, row): (Folded, Arc<NodeRow>)| {
                state.catalog.load_node(name, row);
            }),
            INSTANCES => each(rows, |(key, row): (InstanceKey, Arc<InstanceRow>)| {
                state.catalog.load_instance(key, row, &mut self.strings);
            }),
            CHECKS => each(rows, |(key, row): (CheckKey, Arc<CheckRow>)| {
                state.catalog.load_check(key, row, &mut self.strings);
            }),
            NODE_INDEXES => each(rows, |(name, indexes): (Folded, [Index; 2])| {
                if let Some(entry) = state.catalog.nodes.get_mut(&name) {
                    [entry.catalog_index, entry.index] = indexes;
                }
            }),
            SERVICE_INDEXES => each(rows, |(name, indexes): (Folded, [Index; 3])| {
                if let Some(entry) = state.catalog.services.get_mut(&name) {
                    [entry.catalog_index, entry.health_index, entry.checks_index] = indexes;
                }
            }),
            ALARMS => each(rows, |(alarm, by): (Alarm, RaisedBy)| {
                state.alarms.insert(alarm, by);
            }),
            SESSIONS => each(rows, |row: Arc<SessionRow>| {
                // Nobody waits for a state in the making.
                state.sessions.absorb(row.def.id, Some(&row), &mut Touch::default());
            }),
            LOCK_DELAYS => each(rows, |(key, delay): (Key, LockDelay)| {
                state.sessions.absorb_delay(&key, Some(delay));
            }),
            QUERIES => each(rows, |row: Arc<QueryRow>| {
                state.queries.absorb(row.def.id, Some(&row), &mut Touch::default());
            }),
            EVENTS => each(rows, |(number, event): (u64, Arc<EventDef>)| {
                state.events.insert(number, event);
            }),
            AUTOPILOT => each(rows, |row: AutopilotRow| state.autopilot = row),
            ACCOUNTS => each(rows, |row: AccountChange| state.accounts.absorb(&row)),
            ACL => each(rows, |row: AclChange| state.acl.absorb(&row)),
            SECRETS | PASSWORDS | TOKENS if part == Part::Server => self.take_secrets(kind, rows),
            HISTORY.. if part == Part::Server => self.take_history(kind, rows),
            _ => Ok(()),
        }
    }

    /// What servers alone have besides the history.
    fn take_secrets(&mut self, kind: u8, rows: &[u8]) -> Result<(), Unfit> {
        match kind {
            SECRETS => each(rows, |(id, secret): (AclId, Sealed)| {
                self.state.secrets.insert(id, secret);
            }),
            PASSWORDS => each(rows, |(user, hash): (Arc<str>, PasswordHash)| {
                self.state.passwords.insert(user, hash);
            }),
            TOKENS => each(rows, |(id, row): (TokenId, TokenRow)| {
                self.state.tokens.insert(id, row);
            }),
            _ => Ok(()),
        }
    }

    fn take_history(&mut self, kind: u8, rows: &[u8]) -> Result<(), Unfit> {
        if kind == HISTORY {
            return each(rows, |(compacted, before)| {
                self.history = Some(History::since(compacted, before));
            });
        }
        if kind == STAGED {
            return each(rows, |piece: Piece| self.state.absorb_piece(&piece));
        }
        let Some(history) = &mut self.history else {
            return Err(Unfit::Garbled("it comes before the history's head".to_owned()));
        };
        let (keys, past) = (&self.state.keys, &mut self.past);
        let row = |key: &Key, revision, version| match version {
            Version::Deleted => Ok(None),
            Version::Past(row) => Ok(Some(row)),
            Version::Current => {
                let row = keys.get(key).filter(|row| row.modified == revision);
                row.map(|row| Some(row.clone())).ok_or(Unfit::Astray(revision))
            }
        };
        match kind {
            KEPT => try_each(rows, |(key, revision, version): (Key, Revision, Version)| {
                let row = row(&key, revision, version)?;
                history.keep(key, revision, row);
                Ok(())
            }),
            PAST => try_each(rows, |event: (Revision, Stamp, Key, Version)| {
                let (revision, at, key, version) = event;
                let event = KeyEvent { row: row(&key, revision, version)?, key };
                match past {
                    Some((open, _, events)) if *open == revision => events.push(event),
                    _ => {
                        if let Some((revision, at, events)) = past.take() {
                            history.push(revision, at, events);
                        }
                        *past = Some((revision, at, vec![event]));
                    }
                }
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn finish(self, part: Part) -> Result<State, SnapshotError> {
        let Tables { mut state, head, mut history, past, .. } = self;
        let head = head.ok_or(SnapshotError::Missing("shared"))?;
        state.applied = head.applied;
        state.stamp = head.stamp;
        state.index = head.index;
        state.revision = head.revision;
        state.floor = head.floor;
        state.identity = head.identity;
        let [nodes, services, checks, lost_node, lost_service, sessions, queries] =
            head.table_indexes;
        state.sessions.index = sessions;
        state.queries.index = queries;
        state.catalog.indexes = TableIndexes { nodes, services, checks, lost_node, lost_service };
        if let (Some(history), Some((revision, at, events))) = (&mut history, past) {
            history.push(revision, at, events);
        }
        state.history = history;
        if part == Part::Server && state.history.is_none() {
            return Err(SnapshotError::Missing("server"));
        }
        state.recent = Recent::after(state.revision);
        Ok(state)
    }
}

fn each<T: DeserializeOwned>(rows: &[u8], mut take: impl FnMut(T)) -> Result<(), Unfit> {
    try_each(rows, |row| {
        take(row);
        Ok(())
    })
}

fn try_each<T: DeserializeOwned>(
    mut rows: &[u8],
    mut take: impl FnMut(T) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    while !rows.is_empty() {
        let (row, rest) =
            postcard::take_from_bytes(rows).map_err(|error| Unfit::Garbled(error.to_string()))?;
        take(row)?;
        rows = rest;
    }
    Ok(())
}

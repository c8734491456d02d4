//! What a command did: rows put and deleted. This is what followers absorb and watchers read.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::{AccountChange, AclChange, PasswordHash, Sealed};
use crate::model::{
    AclId, Applied, Folded, Index, LeaseId, Member, NodeId, QueryId, Revision, SessionId, Stamp,
    TokenId,
};

use super::alarms::{Alarm, RaisedBy};
use super::autopilot::AutopilotRow;
use super::events::EventDef;
use super::history::KeyEvent;
use super::query::QueryRow;
use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, LockDelay,
    NodeRow, SessionRow, TokenRow,
};
use super::size;
use super::staging::Piece;

/// The effect of one log entry. An entry without effect (a blank, a membership, a command that
/// changed nothing) still moves `applied`, so that whoever waits for a log position gets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    pub applied: Applied,
    /// Cluster time after the entry.
    pub stamp: Stamp,
    /// State's index after the entry.
    pub index: Index,
    /// The key space's revision after the entry.
    pub revision: Revision,
    pub rows: Vec<Change>,
}

/// One row put (`Some`) or deleted (`None`), always complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Identity(Identity),
    Member(NodeId, Option<Member>),
    /// A key event of `Changes::revision`; the order in `rows` is the sub-revision.
    Key(Key, Option<Arc<KeyRow>>),
    Lease(LeaseId, Option<LeaseRow>),
    Session(SessionId, Option<Arc<SessionRow>>),
    /// Whether nobody may take a key.
    LockDelay(Key, Option<LockDelay>),
    Node(Folded, Option<Arc<NodeRow>>),
    Instance(InstanceKey, Option<Arc<InstanceRow>>),
    Check(CheckKey, Option<Arc<CheckRow>>),
    /// History below this revision is gone.
    Compacted(Revision),
    /// Deletions up to this revision are no longer remembered.
    Floor(Revision),
    /// Servers only: followers are not told.
    Token(TokenId, Option<TokenRow>),
    /// History and remembered deletions begin anew with the present keys at this revision.
    Rebased(Revision),
    /// A piece of a backup that is being restored; none: forget them. For servers alone.
    Staged(Option<Piece>),
    /// Everyone who holds the state compares it as it is after this entry.
    Checkpoint,
    Alarm(Alarm, Option<RaisedBy>),
    Account(AccountChange),
    Query(QueryId, Option<Arc<QueryRow>>),
    /// An event by its number; none: it made room.
    Event(u64, Option<Arc<EventDef>>),
    Autopilot(AutopilotRow),
    /// Servers only: followers are not told.
    Password(Arc<str>, Option<PasswordHash>),
    Acl(AclChange),
    /// Servers only: followers are not told.
    Secret(AclId, Option<Sealed>),
}

impl Changes {
    /// Roughly the bytes that these changes keep alive.
    pub fn weight(&self) -> usize {
        size_of::<Changes>() + self.rows.iter().map(Change::weight).sum::<usize>()
    }

    /// What followers are told of these changes: all but what never leaves servers.
    pub fn shared(&self) -> Cow<'_, Changes> {
        let is_secret = |change: &Change| {
            matches!(
                change,
                Change::Token(..) | Change::Staged(_) | Change::Password(..) | Change::Secret(..)
            )
        };
        if !self.rows.iter().any(is_secret) {
            return Cow::Borrowed(self);
        }
        let rows = self.rows.iter().filter(|row| !is_secret(row)).cloned().collect();
        Cow::Owned(Changes { rows, ..*self })
    }

    /// Whether replicas are compared after this entry.
    pub fn is_checkpoint(&self) -> bool {
        self.rows.contains(&Change::Checkpoint)
    }

    /// What happened to keys, in the order of sub-revisions.
    pub fn key_events(&self) -> impl Iterator<Item = KeyEvent> + '_ {
        self.rows.iter().filter_map(|change| match change {
            Change::Key(key, row) => Some(KeyEvent { key: key.clone(), row: row.clone() }),
            _ => None,
        })
    }
}

impl Change {
    /// It alters nothing that anyone can ask for, and moves no index.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self, Change::Staged(_) | Change::Checkpoint)
    }

    fn weight(&self) -> usize {
        /// What a row without long strings takes, generously.
        const ROW: usize = 512;
        match self {
            Change::Key(key, row) => {
                ROW / 4 + key.len() + row.as_ref().map_or(0, |row| row.value.len())
            }
            Change::Check(_, Some(row)) => ROW + row.output.len(),
            Change::Query(_, Some(row)) => ROW + row.def.size(),
            Change::Session(_, Some(row)) => ROW + size::session(row) as usize,
            Change::LockDelay(key, _) => ROW / 4 + key.len(),
            Change::Staged(Some(piece)) => ROW + piece.bytes.len(),
            Change::Acl(AclChange::Policy(_, Some(policy))) => ROW + policy.text.len(),
            Change::Acl(AclChange::Token(_, Some(token))) => {
                ROW + token.description.len() + token.links.weight()
            }
            Change::Acl(AclChange::Role(_, Some(role))) => {
                ROW + role.description.len() + role.links.weight()
            }
            _ => ROW,
        }
    }
}

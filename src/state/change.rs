//! What a command did: rows put and deleted. This is what followers absorb and watchers read.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Applied, Folded, Index, LeaseId, Member, NodeId, Revision, Stamp, TokenId};

use super::history::KeyEvent;
use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, NodeRow,
    TokenRow,
};

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
    Node(Folded, Option<Arc<NodeRow>>),
    Instance(InstanceKey, Option<Arc<InstanceRow>>),
    Check(CheckKey, Option<Arc<CheckRow>>),
    /// History below this revision is gone.
    Compacted(Revision),
    /// Deletions up to this revision are no longer remembered.
    Floor(Revision),
    /// Servers only: followers are not told.
    Token(TokenId, Option<TokenRow>),
}

impl Changes {
    /// Roughly the bytes that these changes keep alive.
    pub fn weight(&self) -> usize {
        size_of::<Changes>() + self.rows.iter().map(Change::weight).sum::<usize>()
    }

    /// What followers are told of these changes: all but what never leaves servers.
    pub fn shared(&self) -> Cow<'_, Changes> {
        let is_secret = |change: &Change| matches!(change, Change::Token(..));
        if !self.rows.iter().any(is_secret) {
            return Cow::Borrowed(self);
        }
        let mut shared = self.clone();
        shared.rows.retain(|change| !is_secret(change));
        Cow::Owned(shared)
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
    fn weight(&self) -> usize {
        /// What a row without long strings takes, generously.
        const ROW: usize = 512;
        match self {
            Change::Key(key, row) => {
                ROW / 4 + key.len() + row.as_ref().map_or(0, |row| row.value.len())
            }
            Change::Check(_, Some(row)) => ROW + row.output.len(),
            _ => ROW,
        }
    }
}

//! What a command did: rows put and deleted. This is what followers absorb and watchers read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Applied, Folded, Index, LeaseId, Member, NodeId, Revision, Stamp};

use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, NodeRow,
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
}

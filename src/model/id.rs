//! Numbers that name things: nodes, leases, revisions, positions in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts the transactions of the key space exactly as etcd does; an empty cluster is at 1.
pub type Revision = i64;

/// State's own counter: +1 for every command that changes anything, never lower again.
pub type Index = u64;

/// A member's number. Allocated from a counter in the state and never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An etcd lease's number; 0 means no lease.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// etcd's word for "no lease".
    pub const NONE: LeaseId = LeaseId(0);

    /// Whether it stands for no lease.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// How far a state has come: the Raft log id of the last entry in it. Ordered by index, as only
/// committed entries are ever applied; term 0 and index 0 stand for "nothing yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Applied {
    pub term: u64,
    pub index: u64,
}

impl PartialOrd for Applied {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Applied {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.index, self.term).cmp(&(other.index, other.term))
    }
}

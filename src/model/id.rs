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

/// A session's number, a UUID; 0 is nobody's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct SessionId(pub u128);

impl SessionId {
    /// No session ever has it: it stands for whatever cannot be a session's.
    pub const NOBODY: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(self.0, f)
    }
}

/// A prepared query's number, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId(pub u128);

impl QueryId {
    /// The id of that text, if it is one of a UUID's form.
    pub fn parse(text: &str) -> Option<QueryId> {
        let dashes = [8, 13, 18, 23];
        let is_uuid = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
                true => byte == b'-',
                false => byte.is_ascii_hexdigit(),
            });
        let digits = || text.replace('-', "");
        is_uuid.then(|| u128::from_str_radix(&digits(), 16).ok()).flatten().map(QueryId)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(self.0, f)
    }
}

/// The number of a policy, a role or a token (Consul's AccessorID), a UUID. No secret.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct AclId(pub u128);

impl fmt::Display for AclId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(self.0, f)
    }
}

fn write_uuid(number: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let part = |from: u32, digits: u32| (number >> from) & ((1 << (4 * digits)) - 1);
    let [a, b, c, d, e] = [(96, 8), (80, 4), (64, 4), (48, 4), (0, 12)].map(|(f, n)| part(f, n));
    write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
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

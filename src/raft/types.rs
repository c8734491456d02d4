//! What openraft is told about us: the types of ids, votes, entries, answers.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std::LeaderId;
use openraft::{EmptyNode, EntryPayload, alias};
use serde::{Deserialize, Serialize};

use crate::model::{Applied, NodeId};
use crate::state::{Outcome, Proposal};

use super::runtime::Runtime;
use super::wal::Position;

openraft::declare_raft_types!(
    /// Standard Raft with one leader per term; members are known by id alone.
    pub(super) Types:
        D = Logged,
        R = Reply,
        NodeId = u64,
        Node = EmptyNode,
        LeaderId = LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

pub(super) type Entry = alias::EntryOf<Types>;
pub(super) type Payload = EntryPayload<Logged, u64, EmptyNode>;
pub(super) type LogId = alias::LogIdOf<Types>;
pub(super) type Vote = alias::VoteOf<Types>;
pub(super) type Membership = openraft::Membership<u64, EmptyNode>;
pub(super) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot = alias::SnapshotOf<Types, super::machine::Parcel>;
pub(super) type LeaderTerm = alias::CommittedLeaderIdOf<Types>;

/// A proposal in the bytes in which it lies in the log and travels: encoded once by the leader,
/// decoded once by each machine that applies it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Logged(pub(super) Bytes);

impl Logged {
    pub(super) fn encode(proposal: &Proposal) -> Logged {
        match postcard::to_stdvec(proposal) {
            Ok(bytes) => Logged(bytes.into()),
            Err(error) => unreachable!("a proposal is plain data: {error}"),
        }
    }

    pub(super) fn decode(&self) -> Result<Proposal, postcard::Error> {
        postcard::from_bytes(&self.0)
    }
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logged({} bytes)", self.0.len())
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answers to its proposer; none for an entry that is no command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Reply(pub(super) Option<Outcome>);

pub(super) fn position(id: &LogId) -> Position {
    Position { index: id.index, term: id.committed_leader_id().term }
}

pub(super) fn log_id(position: Position) -> LogId {
    LogId::new(LeaderTerm::new(position.term), position.index)
}

pub(super) fn applied(id: &LogId) -> Applied {
    Applied { term: id.committed_leader_id().term, index: id.index }
}

pub(super) fn node_ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

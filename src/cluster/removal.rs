//! Decides how a server is taken out of the cluster, or that it is not. Pure.

use std::collections::BTreeSet;

use crate::model::NodeId;

/// What the leader sees of the servers.
#[derive(Debug, Clone, Default)]
pub(super) struct Servers {
    pub leader: NodeId,
    /// In the member table.
    pub members: BTreeSet<NodeId>,
    pub voters: BTreeSet<NodeId>,
    pub learners: BTreeSet<NodeId>,
    /// Those that answer now, this one included.
    pub answering: BTreeSet<NodeId>,
    /// The voter that has most of the log beside the leader.
    pub heir: Option<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// Raft lets go of it, then the member table.
    TakeOut,
    /// Raft does not know it: the member table lets go.
    Retire,
    /// It leads: another one has to, and is then asked.
    HandOver(NodeId),
}

/// Why a server stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stays {
    #[error("there is no server {0}")]
    Unknown(NodeId),
    #[error(
        "server {0} is the only one that votes: without it there is no cluster; \
         add another server first"
    )]
    LastVoter(NodeId),
    #[error(
        "without server {id}, {left} would vote and only {answer} of them answer now: \
         the cluster would stand still; bring them back, or remove those that are gone first"
    )]
    NoQuorum { id: NodeId, left: usize, answer: usize },
}

pub(super) fn decide(servers: &Servers, id: NodeId) -> Result<Removal, Stays> {
    let known = servers.voters.contains(&id) || servers.learners.contains(&id);
    if !known && !servers.members.contains(&id) {
        return Err(Stays::Unknown(id));
    }
    if !servers.voters.contains(&id) {
        return Ok(if known { Removal::TakeOut } else { Removal::Retire });
    }
    let left: BTreeSet<NodeId> = servers.voters.iter().copied().filter(|v| *v != id).collect();
    if left.is_empty() {
        return Err(Stays::LastVoter(id));
    }
    let answer = left.intersection(&servers.answering).count();
    if answer * 2 <= left.len() {
        return Err(Stays::NoQuorum { id, left: left.len(), answer });
    }
    if id != servers.leader {
        return Ok(Removal::TakeOut);
    }
    let heir = servers.heir.filter(|heir| left.contains(heir) && servers.answering.contains(heir));
    let heir = heir.or_else(|| left.intersection(&servers.answering).next().copied());
    heir.map(Removal::HandOver).ok_or(Stays::LastVoter(id))
}

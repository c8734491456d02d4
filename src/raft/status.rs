//! How this server stands in Raft at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::{Instant as _, ServerState};
use tokio::time::Instant;

use crate::model::{Applied, NodeId};

use super::types::{LogId, Types, applied, node_ids};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Leader,
    /// A voter that asks for votes.
    Candidate,
    Follower,
    /// Not a voter, or not a member of anything yet.
    Learner,
    /// Raft has ended: on request, or because the log failed.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub id: NodeId,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub role: Role,
    /// While the voters change, those of both sides.
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    /// The last entry of the log, whether committed or not.
    pub last_log: Option<Applied>,
    pub committed: Option<Applied>,
    pub applied: Option<Applied>,
    /// The state may be served: replay has reached what was known to be committed.
    pub synced: bool,
    /// On the leader, the index up to which each other server is known to have the log.
    pub matched: BTreeMap<NodeId, Option<u64>>,
    /// On the leader, when it sent what a quorum last answered.
    pub quorum_acked: Option<Instant>,
}

impl Status {
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// On the leader, the time since a quorum last answered it; zero where it votes alone, which
    /// nobody ever answers, and where none has answered yet.
    pub fn quorum_silence(&self, now: Instant) -> Duration {
        match self.quorum_acked {
            Some(acked) if self.voters.len() > 1 => now.saturating_duration_since(acked),
            _ => Duration::ZERO,
        }
    }

    /// On the leader, the other voter that has most of the log.
    pub fn heir(&self) -> Option<NodeId> {
        self.heirs().into_iter().next()
    }

    /// On the leader, the other voters that answer, those with most of the log first.
    pub fn heirs(&self) -> Vec<NodeId> {
        let others = self.matched.iter().filter(|(id, _)| self.voters.contains(id));
        let others = others.filter(|(_, matched)| self.leads() && matched.is_some());
        let mut heirs: Vec<_> = others.map(|(id, at)| (*at, *id)).collect();
        heirs.sort_by(|left, right| right.cmp(left));
        heirs.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn of(server: &RaftServerMetrics<Types>, data: &RaftDataMetrics<Types>) -> Status {
        let membership = server.membership_config.membership();
        let position = |id: &Option<LogId>| id.as_ref().map(applied);
        let id = NodeId(server.id);
        let matched = data.replication.iter().flatten();
        let matched = matched.map(|(id, at)| (NodeId(*id), at.as_ref().map(|at| at.index)));
        let (now, acked) = (Instant::now(), data.last_quorum_acked.as_deref());
        Status {
            id,
            term: server.vote.leader_id().term,
            leader: server.current_leader.map(NodeId),
            role: role(server.state),
            voters: node_ids(membership.voter_ids()),
            learners: node_ids(membership.learner_ids()),
            last_log: position(&data.last_log),
            committed: position(&data.cluster_committed).max(position(&data.last_applied)),
            applied: position(&data.last_applied),
            synced: false,
            matched: matched.filter(|(other, _)| *other != id).collect(),
            quorum_acked: acked.map(|acked| now.checked_sub(acked.elapsed()).unwrap_or(now)),
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}

//! Who this agent is in the cluster at one moment: what status, headers and metrics show.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{NodeId, Role};

/// A server's part in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RaftRole {
    Leader,
    Voter,
    Learner,
}

/// The little of it that every answer of etcd's API carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// 0 until admitted.
    pub id: NodeId,
    pub term: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// 0 until admitted.
    pub id: NodeId,
    pub role: Role,
    /// None on an edge.
    pub raft: Option<RaftRole>,
    pub leader: Option<NodeId>,
    pub leader_addr: Option<SocketAddr>,
    pub term: u64,
    /// The newest entry of the log that is known to be committed; 0 where that is not known.
    pub committed: u64,
    /// Servers that vote, as far as this agent knows.
    pub voters: Vec<NodeId>,
    /// The entry of the log that made these the voters; 0 where that is not known.
    pub membership: u64,
    /// The state has been received once, and replay has reached what was committed.
    pub synced: bool,
    /// Time since this agent last knew itself in touch with the leader; zero on the leader.
    pub last_contact: Duration,
    /// The server an edge follows.
    pub upstream: Option<SocketAddr>,
}

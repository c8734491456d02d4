//! A member of the cluster: an agent that was admitted.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{NodeId, NodeName};

/// What an agent does in the cluster. Whether a server votes is Raft's membership, not this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the log: a voter, or a learner standing by.
    Server,
    /// Follows the changes, holds nothing on disk.
    Edge,
    /// An edge that passes the changes on to others.
    Relay,
}

impl Role {
    /// Whether it follows the changes, and holds no log.
    pub fn follows(self) -> bool {
        self != Role::Server
    }

    /// The word for it in config files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Edge => "edge",
            Role::Relay => "relay",
        }
    }
}

/// An agent that was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: NodeId,
    pub name: NodeName,
    pub role: Role,
    /// Where other agents reach it.
    pub peer_addr: SocketAddr,
    /// What clients are told (etcd's `clientURLs`).
    pub client_urls: Vec<String>,
    /// Drawn by the joiner: makes `admit` idempotent.
    pub nonce: u128,
    /// The release it runs.
    pub version: String,
    /// The level of `apply` that its release speaks at most.
    pub level: u32,
}

//! Why the cluster did not do what was asked, and whether it may have happened all the same.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::IdentityError;
use crate::net::BindError;
use crate::raft;

/// Why an agent cannot take its place in a cluster. Fatal at the start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{key}: {why}")]
    Config { key: &'static str, why: String },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Log(#[from] raft::OpenError),
    #[error("the cluster cannot be founded: {0}")]
    Founding(String),
    #[error("the cluster does not let this agent in: {0}")]
    Refused(String),
}

/// A proposal that has no outcome to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was appended: safe to try again.
    #[error("no cluster leader")]
    NoLeader,
    /// This agent has not heard from the cluster yet. Nothing was appended.
    #[error("this agent has not synced with the cluster yet")]
    NotSynced,
    /// Too much is under way. Nothing was appended.
    #[error("too many proposals under way: {0}")]
    Busy(String),
    /// The command is larger than the log takes. Nothing was appended.
    #[error("the command has {len} bytes, at most {max} are allowed")]
    TooLarge { len: usize, max: usize },
    /// It may or may not have been applied. Never retried in secret.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The agent is stopping, or its log has failed. Nothing was appended.
    #[error("this agent is stopping: {0}")]
    Stopped(String),
    /// The leader's disk, or a quorum's, has no room for more log. Nothing was appended.
    #[error("no space: the disk has no room for more log")]
    NoSpace,
    /// The leader has lost most of the voters. Nothing was appended.
    #[error("no quorum: the leader cannot reach most of the voters")]
    NoQuorum,
    /// The cluster has moved on to what this release does not speak. Nothing was appended.
    #[error("{0}")]
    Outdated(String),
}

/// A read that could not be answered at the consistency asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no cluster leader")]
    NoLeader,
    #[error("this agent has not synced with the cluster yet")]
    NotSynced,
    #[error("this agent is stopping: {0}")]
    Stopped(String),
    /// The leader has lost most of the voters.
    #[error("no quorum: the leader cannot reach most of the voters")]
    NoQuorum,
    /// The cluster has moved on to what this release does not speak.
    #[error("{0}")]
    Outdated(String),
}

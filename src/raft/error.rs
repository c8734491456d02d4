//! Why a log cannot be opened, and why a proposal or a read has no answer.

use std::io;
use std::path::PathBuf;

use crate::model::NodeId;

use super::wal::WalError;

/// Why a server cannot start on its data directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data_dir {}: {source}", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("data_dir {}: another process uses it (it holds {})", dir.display(), lock.display())]
    Locked { dir: PathBuf, lock: PathBuf },
    #[error("the log: {0}")]
    Wal(#[from] WalError),
    #[error("the log in {}: {why}", dir.display())]
    Entries { dir: PathBuf, why: String },
    #[error("the snapshot {}: {why}", path.display())]
    Snapshot { path: PathBuf, why: String },
    #[error("the log in {} begins after entry {purged}, but no snapshot reaches it", dir.display())]
    SnapshotMissing { dir: PathBuf, purged: u64 },
    /// What this server has promised to hold is gone: it must not vote under its id any more.
    #[error("the log in {} ends at {last}, but had reached {known}: it was lost", dir.display())]
    LogLost { dir: PathBuf, last: String, known: u64 },
    #[error("{0}")]
    Outdated(String),
    #[error("raft: {0}")]
    Raft(String),
}

impl OpenError {
    /// What is gone is what this server has promised to hold: it is no longer who it was.
    pub fn is_loss(&self) -> bool {
        matches!(self, OpenError::LogLost { .. } | OpenError::SnapshotMissing { .. })
    }
}

/// A proposal without an outcome to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Never appended. None: no leader is known.
    #[error("this server does not lead")]
    NotLeader { leader: Option<NodeId> },
    /// Never appended: it leads, but no quorum answers it.
    #[error("no quorum answers this leader")]
    NoQuorum,
    /// Never appended: too many are under way.
    #[error("too many proposals under way, at most {0} may be")]
    Busy(usize),
    /// Never appended: the disk has no room for more log.
    #[error("the disk is full")]
    DiskFull,
    /// Never appended.
    #[error("the command has {len} bytes, at most {max} are allowed")]
    TooLarge { len: usize, max: usize },
    /// It may or may not be applied, now or later.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Never appended: the node has stopped, or its log has failed.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// A read index that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    #[error("this server does not lead")]
    NotLeader { leader: Option<NodeId> },
    /// It believes to lead, but no quorum confirmed it in time.
    #[error("no quorum confirms the leader")]
    NoQuorum,
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// A change of the membership that did not come about, or is not known to have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("this server does not lead")]
    NotLeader { leader: Option<NodeId> },
    /// Nothing was done: another change has to end first.
    #[error("another change of the servers is under way")]
    Busy,
    /// Refused: the members do not fit.
    #[error("{0}")]
    Refused(String),
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

//! What a server's part in Raft is told: who it is, where its log lies, how patient it is.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{NodeId, limits};
use crate::state::LEVEL;

use super::mark::{LogMark, Marker};

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSizes {
    /// Bytes of one segment of the log.
    pub segment_bytes: usize,
    /// A snapshot is due when this much log was written since the last one, or as much as the last
    /// one has, whichever is more.
    pub snapshot_bytes: u64,
    /// Entries before a snapshot that are kept for followers that lag.
    pub keep_entries: u64,
    /// Bytes of those entries at most.
    pub keep_bytes: u64,
    /// Bytes of a snapshot that are sent at once.
    pub snapshot_chunk: usize,
}

impl Default for LogSizes {
    fn default() -> LogSizes {
        LogSizes {
            segment_bytes: 16 * 1024 * 1024,
            snapshot_bytes: 64 * 1024 * 1024,
            keep_entries: 4096,
            keep_bytes: 32 * 1024 * 1024,
            snapshot_chunk: limits::SNAPSHOT_CHUNK,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub id: NodeId,
    /// `data_dir`: the log goes to `wal` and the snapshots to `snapshots` below it.
    pub dir: PathBuf,
    pub sizes: LogSizes,
    /// What `marker` was last given; none before the log is made. A log that does not bear it out
    /// was lost, and is refused.
    pub mark: Option<LogMark>,
    pub marker: Marker,
    pub heartbeat: Duration,
    pub election_min: Duration,
    /// Also the time for which a leader is trusted without hearing of it again.
    pub election_max: Duration,
    /// How long a proposal may take before its outcome is unknown.
    pub proposal_timeout: Duration,
    /// The level of `apply` that this server speaks at most: beyond it, it stops.
    pub level: u32,
}

impl Config {
    pub fn new(id: NodeId, dir: impl Into<PathBuf>) -> Config {
        Config {
            id,
            dir: dir.into(),
            sizes: LogSizes::default(),
            mark: None,
            marker: Marker::default(),
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(350),
            election_max: Duration::from_millis(650),
            proposal_timeout: Duration::from_millis(2300),
            level: LEVEL,
        }
    }
}

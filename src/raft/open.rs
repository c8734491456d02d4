//! Opens what lies in the data directory: lock, snapshot and log, checked against each other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::error::OpenError;
use super::log_store::LogStore;
use super::snapshot::SnapshotStore;
use super::wal::{Pressure, Wal};

const WAL: &str = "wal";
const SNAPSHOTS: &str = "snapshots";
const LOCK: &str = "lock";

/// Holds the data directory against other processes.
pub(super) type Lock = Box<dyn Send + Sync>;

pub(super) struct Opened {
    pub(super) log: LogStore,
    pub(super) pressure: Arc<Pressure>,
    pub(super) snapshots: SnapshotStore,
}

pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segment_bytes: usize,
) -> Result<Opened, OpenError> {
    let lock = lock(&**disk, dir)?;
    let (wal_dir, snapshot_dir) = (dir.join(WAL), dir.join(SNAPSHOTS));
    for path in [&wal_dir, &snapshot_dir] {
        let unusable = |source| OpenError::DataDir { path: path.clone(), source };
        disk.create_dir(path).map_err(unusable)?;
    }
    let unusable = |source| OpenError::DataDir { path: dir.to_owned(), source };
    disk.sync_dir(dir).map_err(unusable)?;
    let snapshots = SnapshotStore::open(disk.clone(), &snapshot_dir)?;
    let (wal, recovered) = Wal::open(disk.clone(), &wal_dir, segment_bytes)?;
    if let Some(purged) = recovered.purged {
        let reached = snapshots.newest().and_then(|newest| newest.meta.last_log_id);
        if reached.is_none_or(|reached| reached.index < purged.index) {
            let dir = dir.to_owned();
            return Err(OpenError::SnapshotMissing { dir, purged: purged.index });
        }
    }
    let pressure = wal.pressure();
    let log = LogStore::new(wal, recovered, lock)
        .map_err(|error| OpenError::Entries { dir: wal_dir, why: error.to_string() })?;
    Ok(Opened { log, pressure, snapshots })
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Lock, OpenError> {
    let unusable = |source| OpenError::DataDir { path: dir.to_owned(), source };
    disk.create_dir(dir).map_err(unusable)?;
    let path = dir.join(LOCK);
    disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_owned(), lock: path },
        _ => unusable(error),
    })
}

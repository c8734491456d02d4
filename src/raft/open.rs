//! Opens what lies in the data directory: lock, snapshot and log, checked against each other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::lifecycle::chance;

use super::config::Config;
use super::disk::Disk;
use super::error::OpenError;
use super::log_store::LogStore;
use super::mark::LogMark;
use super::shelf::Shelf;
use super::wal::{self, Floors, Pressure, Recovered, Wal};

pub(super) const WAL: &str = "wal";
pub(super) const SNAPSHOTS: &str = "snapshots";
const LOCK: &str = "lock";

/// Holds the data directory against other processes.
pub(super) type Lock = Box<dyn Send + Sync>;

pub(super) struct Opened {
    pub(super) incarnation: u64,
    pub(super) log: LogStore,
    pub(super) pressure: Arc<Pressure>,
    pub(super) snapshots: Shelf,
}

pub(super) fn open(disk: &Arc<dyn Disk>, config: &Config) -> Result<Opened, OpenError> {
    let dir = config.dir.as_path();
    let lock = lock(&**disk, dir)?;
    let (wal_dir, snapshot_dir) = (dir.join(WAL), dir.join(SNAPSHOTS));
    for path in [&wal_dir, &snapshot_dir] {
        let unusable = |source| OpenError::DataDir { path: path.clone(), source };
        disk.create_dir(path).map_err(unusable)?;
    }
    let unusable = |source| OpenError::DataDir { path: dir.to_owned(), source };
    disk.sync_dir(dir).map_err(unusable)?;
    let snapshots = Shelf::open(disk.clone(), &snapshot_dir)?;
    let exists = wal::exists(&**disk, &wal_dir)?;
    if let Some(LogMark { floor, .. }) = config.mark.filter(|_| !exists) {
        let last = "nothing".to_owned();
        return Err(OpenError::LogLost { dir: wal_dir, last, known: floor });
    }
    let mark = config.mark.unwrap_or_else(|| LogMark { incarnation: chance::random(), floor: 0 });
    let marker = config.marker.clone();
    let keep = move |floor| (marker.0)(LogMark { floor, ..mark });
    let floors = Floors { known: mark.floor, keep: Box::new(keep), failing: false };
    let (wal, recovered) =
        Wal::open_with(disk.clone(), &wal_dir, config.sizes.segment_bytes, floors)?;
    let reached = snapshots.newest().and_then(|newest| newest.meta.last_log_id);
    check(&wal_dir, &recovered, reached.map(|id| id.index), mark.floor)?;
    if config.mark.is_none() {
        // Before the first vote: from here on a log that is missing was lost.
        (config.marker.0)(mark).map_err(unusable)?;
    }
    let pressure = wal.pressure();
    let log = LogStore::new(wal, recovered, lock)
        .map_err(|error| OpenError::Entries { dir: wal_dir, why: error.to_string() })?;
    Ok(Opened { incarnation: mark.incarnation, log, pressure, snapshots })
}

/// Log and snapshot must meet, and reach together what this server is known to have held.
fn check(
    dir: &Path,
    recovered: &Recovered,
    snapshot: Option<u64>,
    floor: u64,
) -> Result<(), OpenError> {
    if let Some(purged) = recovered.purged
        && snapshot.is_none_or(|reached| reached < purged.index)
    {
        return Err(OpenError::SnapshotMissing { dir: dir.to_owned(), purged: purged.index });
    }
    let last = recovered.last().map(|last| last.index).max(snapshot);
    let committed = recovered.committed.map_or(0, |committed| committed.index);
    let known = committed.max(floor);
    if known > last.unwrap_or(0) {
        let last = last.map_or("nothing".to_owned(), |last| format!("entry {last}"));
        return Err(OpenError::LogLost { dir: dir.to_owned(), last, known });
    }
    Ok(())
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

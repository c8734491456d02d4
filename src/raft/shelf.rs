//! The directory of snapshots: the newest one, those still being sent, and one that is coming in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::limits;
use crate::state::State;

use super::codec::PlainId;
use super::disk::Disk;
use super::error::OpenError;
use super::snapshot::{self, SnapshotError, Sum};
use super::types::{LogId, SnapshotMeta};
use super::wire::ParcelId;

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".snap";
const PARTIAL: &str = ".partial";
const INCOMING: &str = "incoming-";

/// A durable snapshot in its file. One that a newer has replaced goes when nobody sends it any
/// more: so a follower that is behind gets to the end of what it was begun with.
pub(super) struct Kept {
    pub(super) meta: SnapshotMeta,
    pub(super) path: PathBuf,
    pub(super) sum: Sum,
    disk: Arc<dyn Disk>,
    replaced: AtomicBool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Kept {
    pub(super) fn id(&self) -> ParcelId {
        let last = self.meta.last_log_id.as_ref().map(PlainId::from);
        ParcelId { last, total: self.sum.bytes, crc: self.sum.crc }
    }

    /// A piece of the file, shorter at its end.
    pub(super) fn piece(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(&self.path, offset, len)
    }

    pub(super) fn read(&self) -> io::Result<State> {
        snapshot::read(&*self.disk, &self.path).map(|(_, state, _)| state)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire)
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "cannot remove an old snapshot");
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Shelf {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    newest: Arc<Mutex<Option<Arc<Kept>>>>,
    /// Held while a file is written: one at a time.
    writing: Arc<Mutex<()>>,
    incoming: Arc<Mutex<Option<Incoming>>>,
}

/// A snapshot of which the first `at` bytes are durable.
#[derive(Debug, Clone)]
struct Incoming {
    id: ParcelId,
    path: PathBuf,
    at: u64,
    /// The term of the leader who sends it.
    term: u64,
}

impl Shelf {
    /// Looks for the newest snapshot and checks it: a damaged one is refused, for the log before
    /// it may be gone. What was half written goes; what was half received stays.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Shelf, OpenError> {
        let unusable = |source| OpenError::DataDir { path: dir.to_owned(), source };
        let names = disk.list(dir).map_err(unusable)?;
        let newest = names.iter().filter_map(|name| position(name).map(|at| (at, name))).max();
        let newest = newest.map(|(_, name)| name);
        let mut kept = None;
        if let Some(name) = newest {
            let path = dir.join(name);
            let (meta, sum) = snapshot::check(&*disk, &path).map_err(|error| {
                OpenError::Snapshot { path: path.clone(), why: error.to_string() }
            })?;
            let (disk, replaced) = (disk.clone(), AtomicBool::new(false));
            kept = Some(Arc::new(Kept { meta, path, sum, disk, replaced }));
        }
        for name in &names {
            let older = position(name).is_some() && Some(name) != newest;
            if older || name.ends_with(PARTIAL) {
                disk.remove(&dir.join(name)).map_err(unusable)?;
            }
        }
        Ok(Shelf {
            disk,
            dir: dir.to_owned(),
            newest: Arc::new(Mutex::new(kept)),
            writing: Arc::default(),
            incoming: Arc::default(),
        })
    }

    pub(super) fn newest(&self) -> Option<Arc<Kept>> {
        lock(&self.newest).clone()
    }

    /// Somebody is being sent the newest snapshot: another one would make that be for nothing.
    pub(super) fn is_sending(&self) -> bool {
        lock(&self.newest).as_ref().is_some_and(|newest| Arc::strong_count(newest) > 1)
    }

    /// Makes a snapshot durable and forgets those before it. One that is no newer is not kept.
    pub(super) fn save(&self, meta: &SnapshotMeta, state: &State) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let last = meta.last_log_id;
        if self.newest().is_some_and(|newest| newest.meta.last_log_id >= last) {
            return Ok(());
        }
        let path = self.dir.join(name(last.as_ref()));
        let mut partial = path.clone().into_os_string();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let written = snapshot::write(&*self.disk, &partial, meta, state);
        let sum = written.inspect_err(|_| {
            // What is left of it would only take up room.
            let _ = self.disk.remove(&partial);
        })?;
        self.shelve(&partial, path, meta.clone(), sum)
    }

    /// Gives a whole file the name under which it is relied on.
    fn shelve(&self, from: &Path, to: PathBuf, meta: SnapshotMeta, sum: Sum) -> io::Result<()> {
        self.disk.rename(from, &to)?;
        self.disk.sync_dir(&self.dir)?;
        let (disk, replaced) = (self.disk.clone(), AtomicBool::new(false));
        let kept = Arc::new(Kept { meta, path: to, sum, disk, replaced });
        if let Some(before) = lock(&self.newest).replace(kept) {
            before.replaced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes a piece of a snapshot that the leader of `term` sends, and makes it durable. Returns
    /// where the next one is to begin: also where this one did not fit, so that a sender who lost
    /// its place, or begins, asks with a piece of no bytes.
    pub(super) fn receive(
        &self,
        id: &ParcelId,
        term: u64,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<u64> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        if id.total > limits::SNAPSHOT as u64 {
            return Err(invalid(format!("a snapshot of {} bytes is too large", id.total)));
        }
        let mut incoming = lock(&self.incoming);
        if incoming.as_ref().is_some_and(|incoming| incoming.term > term) {
            return Err(invalid("a later leader sends a snapshot".to_owned()));
        }
        if incoming.as_ref().is_none_or(|incoming| incoming.id != *id) {
            *incoming = Some(self.begin(id, term)?);
        }
        let Some(now) = incoming.as_mut() else { return Ok(0) };
        now.term = term;
        if offset != now.at || bytes.is_empty() {
            return Ok(now.at);
        }
        let end = now.at + bytes.len() as u64;
        if end > id.total {
            return Err(invalid(format!("a piece ends at {end}, after {}", id.total)));
        }
        if let Err(error) = self.append(&now.path, offset, bytes) {
            // On a full disk what is there so far would only be in the way.
            let _ = self.disk.remove(&now.path);
            *incoming = None;
            return Err(error);
        }
        now.at = end;
        Ok(end)
    }

    /// What is there of it from before, if anything; of others, nothing is kept.
    fn begin(&self, id: &ParcelId, term: u64) -> io::Result<Incoming> {
        let own = incoming_name(id);
        let mut at = 0;
        for name in self.disk.list(&self.dir)? {
            let path = self.dir.join(&name);
            if name == own {
                at = self.disk.len(&path)?.min(id.total);
            } else if name.starts_with(INCOMING) {
                self.disk.remove(&path)?;
            }
        }
        Ok(Incoming { id: *id, path: self.dir.join(own), at, term })
    }

    fn append(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = if offset == 0 { self.disk.create(path)? } else { self.disk.open(path)? };
        file.write_at(bytes, offset)?;
        file.sync()?;
        if offset == 0 { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Reads what has come in whole. What turns out to be damaged is forgotten.
    pub(super) fn unpack(&self, id: &ParcelId) -> io::Result<(SnapshotMeta, State)> {
        let path = self.dir.join(incoming_name(id));
        let read = snapshot::read(&*self.disk, &path).and_then(|(meta, state, sum)| {
            let last = meta.last_log_id.as_ref().map(PlainId::from);
            if (ParcelId { last, total: sum.bytes, crc: sum.crc }) == *id {
                return Ok((meta, state));
            }
            Err(SnapshotError::Garbled("it is another than was promised".to_owned()).into())
        });
        read.inspect_err(|_| self.forget(id))
    }

    /// Takes over what has come in whole.
    pub(super) fn adopt(&self, id: &ParcelId, meta: &SnapshotMeta) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let last = meta.last_log_id;
        if self.newest().is_some_and(|newest| newest.meta.last_log_id >= last) {
            return Ok(());
        }
        let sum = Sum { bytes: id.total, crc: id.crc };
        let path = self.dir.join(name(last.as_ref()));
        self.shelve(&self.dir.join(incoming_name(id)), path, meta.clone(), sum)
    }

    /// Keeps nothing of a snapshot that came in and was not taken over.
    pub(super) fn forget(&self, id: &ParcelId) {
        *lock(&self.incoming) = None;
        let _ = self.disk.remove(&self.dir.join(incoming_name(id)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `snapshot-<index>-<term>.snap`, digits padded so that names sort as positions do.
fn name(at: Option<&LogId>) -> String {
    let (index, term) = at.map_or((0, 0), |id| (id.index, id.committed_leader_id().term));
    format!("{PREFIX}{index:020}-{term:020}{SUFFIX}")
}

fn position(name: &str) -> Option<(u64, u64)> {
    let (index, term) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((index.parse().ok()?, term.parse().ok()?))
}

fn incoming_name(id: &ParcelId) -> String {
    let last = id.last.map(LogId::from);
    let (index, term) = last.map_or((0, 0), |id| (id.index, id.committed_leader_id().term));
    format!("{INCOMING}{index:020}-{term:020}-{}-{:08x}", id.total, id.crc)
}

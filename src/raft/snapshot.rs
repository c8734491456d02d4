//! Snapshots in files: whole, checked, and durable before anyone relies on them.
//!
//! `magic 8, version u32, crc32 u32, then checked: length u32, meta (postcard), the state's own
//! snapshot format in zstd`, numbers little-endian.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::limits;
use crate::state::{Part, State};

use super::codec::{self, PlainId, PlainMembership};
use super::disk::Disk;
use super::error::OpenError;
use super::types::{LogId, SnapshotMeta, StoredMembership};

const MAGIC: &[u8; 8] = b"rmrafts\0";
const VERSION: u32 = 1;
const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".snap";
const PARTIAL: &str = ".partial";
/// zstd's own default: half the size for a few milliseconds per megabyte.
const LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
struct Meta {
    applied: Option<PlainId>,
    membership: PlainMembership,
    /// Bytes of the state before compression.
    state_bytes: u64,
}

/// Why bytes are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("it does not begin as a snapshot of the log does")]
    Magic,
    #[error("snapshot format {0} is newer than this release reads ({VERSION})")]
    Version(u32),
    #[error("it does not match its checksum")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Garbled(String),
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A file's bytes for a state.
pub(super) fn encode(meta: &SnapshotMeta, state: &State) -> io::Result<Bytes> {
    let plain = state.encode(Part::Server);
    let meta = codec::encode(&Meta {
        applied: meta.last_log_id.as_ref().map(PlainId::from),
        membership: PlainMembership::from(&meta.last_membership),
        state_bytes: plain.len() as u64,
    });
    let packed = zstd::bulk::compress(&plain, LEVEL)?;
    let mut checked = Vec::with_capacity(4 + meta.len() + packed.len());
    checked.extend_from_slice(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes());
    checked.extend_from_slice(&meta);
    checked.extend_from_slice(&packed);
    let mut bytes = Vec::with_capacity(16 + checked.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    bytes.extend_from_slice(&checked);
    Ok(bytes.into())
}

/// Checks everything and reads what the file is of, without unpacking the state.
pub(super) fn decode_meta(bytes: &[u8]) -> Result<SnapshotMeta, SnapshotError> {
    let (meta, _) = split(bytes)?;
    Ok(meta_of(meta))
}

pub(super) fn decode(bytes: &[u8]) -> Result<(SnapshotMeta, State), SnapshotError> {
    let (meta, packed) = split(bytes)?;
    let size = usize::try_from(meta.state_bytes).unwrap_or(usize::MAX);
    if size > limits::SNAPSHOT {
        let why = format!("its state has {size} bytes, at most {} are allowed", limits::SNAPSHOT);
        return Err(SnapshotError::Garbled(why));
    }
    let plain = zstd::bulk::decompress(packed, size)
        .map_err(|error| SnapshotError::Garbled(error.to_string()))?;
    let state = State::decode(&plain, Part::Server)
        .map_err(|error| SnapshotError::Garbled(error.to_string()))?;
    Ok((meta_of(meta), state))
}

fn meta_of(meta: Meta) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: meta.applied.map(LogId::from),
        last_membership: StoredMembership::from(meta.membership),
    }
}

fn split(bytes: &[u8]) -> Result<(Meta, &[u8]), SnapshotError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Magic)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Magic)?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        version => return Err(SnapshotError::Version(version)),
    }
    let (crc, checked) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Checksum)?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*crc) {
        return Err(SnapshotError::Checksum);
    }
    let short = || SnapshotError::Garbled("it ends too early".to_owned());
    let (len, rest) = checked.split_first_chunk::<4>().ok_or_else(short)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (meta, packed) = rest.split_at_checked(len).ok_or_else(short)?;
    let meta = codec::decode("its meta", meta)
        .map_err(|error| SnapshotError::Garbled(error.to_string()))?;
    Ok((meta, packed))
}

/// The newest durable snapshot.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) meta: SnapshotMeta,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The directory of snapshots; cheap to clone.
#[derive(Clone)]
pub(super) struct SnapshotStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    newest: Option<Stored>,
    /// Written whole under its partial name, not yet relied on.
    staged: Option<LogId>,
}

impl SnapshotStore {
    /// Looks for the newest snapshot and checks it: a damaged one is refused, for the log before
    /// it may be gone.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<SnapshotStore, OpenError> {
        let unusable = |source| OpenError::DataDir { path: dir.to_owned(), source };
        let mut newest = None;
        for name in disk.list(dir).map_err(unusable)? {
            let path = dir.join(&name);
            if name.ends_with(PARTIAL) {
                disk.remove(&path).map_err(unusable)?;
            } else if let Some(at) = position(&name) {
                newest = newest.max(Some((at, path)));
            }
        }
        let stored = match newest {
            None => None,
            Some((_, path)) => {
                let bytes = disk.read(&path).map_err(unusable)?;
                let meta = decode_meta(&bytes).map_err(|error| OpenError::Snapshot {
                    path: path.clone(),
                    why: error.to_string(),
                })?;
                Some(Stored { meta, path, bytes: bytes.len() as u64 })
            }
        };
        let files = Arc::new(Mutex::new(Files { newest: stored, staged: None }));
        Ok(SnapshotStore { disk, dir: dir.to_owned(), files })
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn newest(&self) -> Option<Stored> {
        self.lock().newest.clone()
    }

    /// The newest snapshot with the bytes of its file.
    pub(super) fn load(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let files = self.lock();
        let Some(stored) = &files.newest else { return Ok(None) };
        let bytes = self.disk.read(&stored.path)?;
        Ok(Some((stored.meta.clone(), bytes.into())))
    }

    /// Makes a snapshot durable and forgets those before it. One that is older than the newest is
    /// not kept.
    pub(super) fn save(&self, meta: &SnapshotMeta, bytes: &Bytes) -> io::Result<()> {
        let mut files = self.lock();
        let last = meta.last_log_id;
        if files.newest.as_ref().is_some_and(|stored| stored.meta.last_log_id >= last) {
            return Ok(());
        }
        let path = self.dir.join(name(last.as_ref()));
        let partial = partial(&path);
        if files.staged.take_if(|staged| Some(*staged) == last).is_none() {
            self.write(&partial, bytes)?;
        }
        self.disk.rename(&partial, &path)?;
        self.disk.sync_dir(&self.dir)?;
        let stored = Stored { meta: meta.clone(), path, bytes: bytes.len() as u64 };
        if let Some(before) = files.newest.replace(stored)
            && let Err(error) = self.disk.remove(&before.path)
        {
            tracing::warn!(%error, file = %before.path.display(), "cannot remove an old snapshot");
        }
        Ok(())
    }

    /// Has the bytes of a snapshot on disk before anyone relies on them, so that a full disk shows
    /// here: a `save` of the same snapshot then only gives the file its name.
    pub(super) fn stage(&self, meta: &SnapshotMeta, bytes: &Bytes) -> io::Result<()> {
        let mut files = self.lock();
        files.staged = None;
        self.write(&partial(&self.dir.join(name(meta.last_log_id.as_ref()))), bytes)?;
        files.staged = meta.last_log_id;
        Ok(())
    }

    fn write(&self, partial: &Path, bytes: &Bytes) -> io::Result<()> {
        let write = || {
            let file = self.disk.create(partial)?;
            file.write_at(bytes, 0)?;
            file.sync()
        };
        write().inspect_err(|_| {
            // What is left of it would only take up room.
            let _ = self.disk.remove(partial);
        })
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(PARTIAL);
    name.into()
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

//! What can be wrong with a log on disk.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Never repaired in secret: what follows the damage was acknowledged.
    #[error("{} is corrupt at byte {offset}: {why}", path.display())]
    Corrupt { path: PathBuf, offset: u64, why: String },
    #[error("{} is missing though segments before and after it exist", .0.display())]
    MissingSegment(PathBuf),
    #[error("{0} cannot have its next segment: the disk is full")]
    NoRoom(String),
    #[error("the log in {} begins at {first}, but was purged only up to {purged}", dir.display())]
    Gap { dir: PathBuf, first: u64, purged: String },
}

impl WalError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalError {
        let path = path.to_owned();
        move |source| WalError::Io { action, path, source }
    }

    /// There was no room, and nothing was written: it may be tried again.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, WalError::NoRoom(_))
    }

    /// The kind of the system's error beneath, for whoever is told through a callback.
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            WalError::Io { source, .. } => source.kind(),
            WalError::NoRoom(_) => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::InvalidData,
        }
    }
}

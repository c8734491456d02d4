//! Remembers across a crash that a file changed and its reload has not succeeded yet.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::place::directory_of;

/// A hidden, empty file beside the one that changed, there while a reload is owed for it. It is not
/// synced: a power loss that loses it has restarted the app that would be reloaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owed(PathBuf);

impl Owed {
    /// The mark of one file.
    pub(super) fn for_file(destination: &Path) -> Owed {
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        Owed(directory_of(destination).join(format!(".{name}.remora-reload")))
    }

    /// The mark of a whole directory.
    pub(super) fn for_directory(directory: &Path) -> Owed {
        Owed(directory.join(".remora-reload"))
    }

    /// Called before the file changes. Where no mark can be made, a crash between the change and
    /// the reload is not made good: that is said once per write, at debug.
    pub(super) fn mark(&self) {
        let made = OpenOptions::new().write(true).create(true).truncate(false).open(&self.0);
        if let Err(error) = made {
            tracing::debug!(mark = %self.0.display(), %error, "no mark for an owed reload");
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.0.exists()
    }

    pub(super) fn settle(&self) {
        match fs::remove_file(&self.0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(mark = %self.0.display(), %error, "cannot remove a reload's mark");
            }
        }
    }
}

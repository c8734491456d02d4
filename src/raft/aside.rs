//! Puts the remains of a log where no server opens them, but a person may look at them.

use std::io;
use std::path::Path;

use super::disk::Disk;
use super::open::{SNAPSHOTS, WAL};

const ASIDE: &str = "lost";

/// Moves log and snapshots of a data directory below `lost` in it, in place of what was moved there
/// before. True if there was anything. No server may have the directory open.
pub fn set_aside(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    let mut any = false;
    for part in [WAL, SNAPSHOTS] {
        let (from, to) = (dir.join(part), dir.join(ASIDE).join(part));
        let names = match disk.list(&from) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if names.is_empty() {
            continue;
        }
        any = true;
        disk.create_dir(&to)?;
        for old in disk.list(&to)? {
            disk.remove(&to.join(old))?;
        }
        for name in names {
            disk.rename(&from.join(&name), &to.join(&name))?;
        }
        disk.sync_dir(&to)?;
        disk.sync_dir(&from)?;
    }
    if any {
        disk.sync_dir(&dir.join(ASIDE))?;
        disk.sync_dir(dir)?;
    }
    Ok(any)
}

//! Puts a whole file in the place of another: staged beside it, synced, renamed.
//!
//! Everything here blocks, and is called on a blocking thread.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fchown};
use rustix::process::{Gid, Uid};

use super::error::WriteError;

/// In the name of every file of ours that is not meant to stay.
const STAGE: &str = ".remora-stage-";
/// So long may a name be to leave room for the stage's.
pub(super) const NAME_MAX: usize = 200;
const DEFAULT_MODE: u32 = 0o644;
const PERMISSION_BITS: u32 = 0o7777;

/// A new text on disk beside the file that it will replace. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Staged {
    /// None once it has been renamed.
    path: Option<PathBuf>,
    destination: PathBuf,
}

/// By which way a text came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Atomically.
    Renamed,
    /// Over the old one, byte by byte: the place is a mount, or its directory is not ours to write.
    InPlace,
}

/// Writes `text` beside `destination`, synced, with the mode and owner it will have; none if it is
/// what `destination` holds already.
pub(super) fn stage(
    destination: &Path,
    text: &[u8],
    mode: Option<u32>,
) -> Result<Option<Staged>, WriteError> {
    let destination = follow(destination)?;
    let old = match fs::metadata(&destination) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(WriteError::NotRegular { path: destination });
        }
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(WriteError::io("look at", &destination)(error)),
    };
    if let Some(old) = &old
        && holds(&destination, old, text)
    {
        if let Some(mode) = mode.filter(|mode| *mode != old.mode() & PERMISSION_BITS) {
            fs::set_permissions(&destination, Permissions::from_mode(mode))
                .map_err(WriteError::io("set the mode of", &destination))?;
        }
        return Ok(None);
    }
    let directory = directory_of(&destination);
    fs::create_dir_all(directory).map_err(WriteError::io("make the directory", directory))?;
    let (path, mut file) = create(directory, &destination, old.is_some())?;
    let staged = Staged { path: Some(path.clone()), destination };
    let mode = mode.or(old.as_ref().map(|old| old.mode() & PERMISSION_BITS));
    dress(&file, old.as_ref(), mode.unwrap_or(DEFAULT_MODE))
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.sync_all())
        .map_err(WriteError::io("write", &path))?;
    Ok(Some(staged))
}

impl Staged {
    /// What a check looks at.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(&self.destination)
    }

    /// Takes the place. On an error the old file is still there.
    pub(super) fn commit(mut self) -> Result<Way, WriteError> {
        let Some(path) = self.path.take() else { return Ok(Way::Renamed) };
        match fs::rename(&path, &self.destination) {
            Ok(()) => {
                let directory = directory_of(&self.destination);
                sync_directory(directory).map_err(WriteError::io("sync", directory))?;
                Ok(Way::Renamed)
            }
            Err(error) if cannot_rename(&error) => {
                self.path = Some(path.clone());
                let text = fs::read(&path).map_err(WriteError::io("read", &path))?;
                overwrite(&self.destination, &text)
                    .map_err(WriteError::io("write in place", &self.destination))?;
                Ok(Way::InPlace)
            }
            Err(error) => {
                self.path = Some(path);
                Err(WriteError::io("rename a file to", &self.destination)(error))
            }
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A file that cannot be removed now is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes what a crash left in `directory`: the stages of the file `name`, or of any file.
pub(super) fn sweep(directory: &Path, name: Option<&Path>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let ours = |file: &str| match name {
        Some(name) => file.starts_with(stage_prefix(name).to_string_lossy().as_ref()),
        None => file.starts_with('.') && file.contains(STAGE),
    };
    for entry in entries.flatten() {
        if ours(&entry.file_name().to_string_lossy()) {
            tracing::info!(file = %entry.path().display(), "removing what a crash left behind");
            let _ = fs::remove_file(entry.path());
        }
    }
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory a file is in; `.` for a bare name.
pub(super) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A link is followed to the file it stands for, so that the link stays.
fn follow(destination: &Path) -> Result<PathBuf, WriteError> {
    match fs::symlink_metadata(destination) {
        Ok(metadata) if metadata.is_symlink() => {
            fs::canonicalize(destination).map_err(WriteError::io("follow the link", destination))
        }
        _ => Ok(destination.to_owned()),
    }
}

fn holds(path: &Path, metadata: &fs::Metadata, text: &[u8]) -> bool {
    if metadata.len() != text.len() as u64 {
        return false;
    }
    let mut held = Vec::with_capacity(text.len());
    let read =
        File::open(path).and_then(|file| file.take(text.len() as u64 + 1).read_to_end(&mut held));
    read.is_ok() && held == text
}

/// An empty file of a name of its own, readable by nobody else until it is dressed.
fn create(
    directory: &Path,
    destination: &Path,
    exists: bool,
) -> Result<(PathBuf, File), WriteError> {
    let mut name = stage_prefix(destination);
    name.push(format!("{:016x}", rand::random::<u64>()));
    let open = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let path = directory.join(&name);
    match open(&path) {
        Ok(file) => Ok((path, file)),
        // A single file that is mounted into a directory we may not write to: staged elsewhere, it
        // will be written in place.
        Err(error) if exists && cannot_rename(&error) => {
            let path = std::env::temp_dir().join(&name);
            open(&path).map(|file| (path.clone(), file)).map_err(WriteError::io("create", &path))
        }
        Err(error) => Err(WriteError::io("create", &path)(error)),
    }
}

fn stage_prefix(destination: &Path) -> OsString {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(NAME_MAX / 4).collect();
    let name = if name.len() > NAME_MAX { short.as_str() } else { name.as_ref() };
    OsString::from(format!(".{name}{STAGE}"))
}

/// Owner first: changing it may clear bits of the mode.
fn dress(file: &File, old: Option<&fs::Metadata>, mode: u32) -> io::Result<()> {
    if let Some(old) = old {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only root may give files away; for anyone else the new file is their own.
            let _ = fchown(file, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())));
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Renaming onto a mount, across mounts, or in a directory that is not ours.
fn cannot_rename(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
}

/// Space is taken before a byte is changed, and the old end is cut off last: the file is at no
/// moment empty.
pub(super) fn overwrite(destination: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(destination)?;
    let len = text.len() as u64;
    if len > file.metadata()?.len() {
        let room = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, len);
        // Not every file system can tell beforehand; on those the write itself has to fail.
        if room == Err(rustix::io::Errno::NOSPC) {
            return Err(io::ErrorKind::StorageFull.into());
        }
    }
    file.write_all(text)?;
    file.set_len(len)?;
    file.sync_all()
}

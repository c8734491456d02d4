//! Brings a directory up to a layout and removes what it wrote itself; blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::WriteError;
use super::layout::{Layout, Refused};
use super::manifest;
use super::owed::Owed;
use super::place::{self, Staged, Way};

pub(super) struct Directory {
    root: PathBuf,
    mode: Option<u32>,
    /// The files written here, relative to the root: what the manifest says.
    owned: BTreeSet<String>,
}

/// Everything new is on disk beside its place; nothing has changed yet.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) staged: Vec<(String, Staged)>,
    pub(super) refused: BTreeMap<String, Refused>,
    /// What a second try may better.
    pub(super) problems: Vec<String>,
    wanted: BTreeSet<String>,
}

#[derive(Default)]
pub(super) struct Finished {
    pub(super) written: u64,
    pub(super) removed: u64,
    pub(super) in_place: bool,
    pub(super) problems: Vec<String>,
}

impl Directory {
    /// Makes the directory if need be, reads its manifest and sweeps what a crash left.
    pub(super) fn open(root: &Path, mode: Option<u32>) -> Result<Directory, WriteError> {
        fs::create_dir_all(root).map_err(WriteError::io("make the directory", root))?;
        let owned = manifest::load(root)?;
        let parents: BTreeSet<&Path> = owned.iter().filter_map(|f| Path::new(f).parent()).collect();
        place::sweep(root, None);
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            place::sweep(&root.join(parent), None);
        }
        Ok(Directory { root: root.to_owned(), mode, owned })
    }

    pub(super) fn prepare(&self, layout: Layout) -> Prepared {
        let mut prepared = Prepared { refused: layout.refused, ..Prepared::default() };
        for (file, value) in layout.files {
            match self.stage(&file, &value) {
                Ok(Some(staged)) => prepared.staged.push((file.clone(), staged)),
                Ok(None) => {}
                Err(Obstacle::Refused(refused)) => {
                    prepared.refused.insert(file.clone(), refused);
                }
                Err(Obstacle::Problem(problem)) => prepared.problems.push(problem),
            }
            prepared.wanted.insert(file);
        }
        prepared
    }

    fn stage(&self, file: &str, value: &[u8]) -> Result<Option<Staged>, Obstacle> {
        if let Some(detour) = self.detour(file) {
            // A file of ours whose key is gone makes way in `finish`.
            return Err(if self.owned.contains(&detour) {
                Obstacle::Problem(format!("{detour:?} must go before {file:?} can be written"))
            } else {
                Obstacle::Refused(Refused::Detour(detour))
            });
        }
        let destination = self.root.join(file);
        match fs::symlink_metadata(&destination) {
            Ok(there) if there.is_symlink() => return Err(Obstacle::Refused(Refused::Foreign)),
            Ok(there) if !self.owned.contains(file) && there.is_file() => {
                let same = there.len() == value.len() as u64
                    && fs::read(&destination).is_ok_and(|held| held == value);
                return if same { Ok(None) } else { Err(Obstacle::Refused(Refused::Foreign)) };
            }
            _ => {}
        }
        place::stage(&destination, value, self.mode)
            .map_err(|error| Obstacle::Problem(error.to_string()))
    }

    /// The first part of the way to `file` that is no directory of its own: following a link could
    /// lead anywhere.
    fn detour(&self, file: &str) -> Option<String> {
        let mut above: Vec<&Path> = Path::new(file).ancestors().skip(1).collect();
        above.reverse();
        above
            .into_iter()
            .filter(|part| !part.as_os_str().is_empty())
            .find(|part| fs::symlink_metadata(self.root.join(part)).is_ok_and(|m| !m.is_dir()))
            .map(|part| part.to_string_lossy().into_owned())
    }

    /// Replaces, then removes; `owed` is marked before the first change.
    pub(super) fn finish(&mut self, prepared: Prepared, owed: Option<&Owed>) -> Finished {
        let mut finished = Finished { problems: prepared.problems, ..Finished::default() };
        let gone: Vec<String> = self.owned.difference(&prepared.wanted).cloned().collect();
        if prepared.staged.is_empty() && gone.is_empty() {
            return finished;
        }
        if let Some(owed) = owed {
            owed.mark();
        }
        let before = self.owned.clone();
        self.owned.extend(prepared.staged.iter().map(|(file, _)| file.clone()));
        if self.owned != before
            && let Err(error) = manifest::store(&self.root, &self.owned)
        {
            // Without a manifest nothing new may be written: nobody would own it.
            self.owned = before;
            finished.problems.push(error.to_string());
            return finished;
        }
        for (_, staged) in prepared.staged {
            match staged.commit() {
                Ok(way) => {
                    finished.written += 1;
                    finished.in_place |= way == Way::InPlace;
                }
                Err(error) => finished.problems.push(error.to_string()),
            }
        }
        if !gone.is_empty() {
            self.remove(gone, &mut finished);
        }
        finished
    }

    fn remove(&mut self, gone: Vec<String>, finished: &mut Finished) {
        for file in gone {
            match self.remove_one(&file) {
                Ok(removed) => {
                    finished.removed += u64::from(removed);
                    self.owned.remove(&file);
                }
                Err(error) => finished.problems.push(error.to_string()),
            }
        }
        if let Err(error) = manifest::store(&self.root, &self.owned) {
            finished.problems.push(error.to_string());
        }
    }

    /// False where the file is gone already, or is not the one that was written.
    fn remove_one(&self, file: &str) -> Result<bool, WriteError> {
        let path = self.root.join(file);
        let ours = self.detour(file).is_none()
            && fs::symlink_metadata(&path).is_ok_and(|there| there.is_file());
        if !ours {
            return Ok(false);
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(WriteError::io("remove", &path)(error)),
        }
        // The removal is on disk before the manifest forgets the file.
        let mut parent = place::directory_of(&path);
        while parent != self.root && fs::remove_dir(parent).is_ok() {
            parent = place::directory_of(parent);
        }
        place::sync_directory(parent).map_err(WriteError::io("sync", parent))?;
        Ok(true)
    }
}

/// Why one file was not staged.
enum Obstacle {
    Refused(Refused),
    Problem(String),
}

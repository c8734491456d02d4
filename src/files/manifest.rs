//! Which files of a directory are ours: kept in a hidden file there, over restarts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::WriteError;
use super::place;

const NAME: &str = ".remora-files";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Page {
    version: u32,
    files: BTreeSet<String>,
}

pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// The files that were written here, relative to the directory; none where there is no manifest.
pub(super) fn load(directory: &Path) -> Result<BTreeSet<String>, WriteError> {
    let path = path(directory);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(WriteError::io("read", &path)(error)),
    };
    let page: Page = serde_json::from_slice(&text)
        .map_err(|error| WriteError::io("understand", &path)(error.into()))?;
    if page.version != VERSION {
        let what = format!("version {} is not known here", page.version);
        return Err(WriteError::io("understand", &path)(io::Error::other(what)));
    }
    // Whoever changed the manifest must not get us to remove a file elsewhere.
    let inside =
        |file: &String| Path::new(file).components().all(|c| matches!(c, Component::Normal(_)));
    Ok(page.files.into_iter().filter(inside).collect())
}

/// Written before the first of its files, so that a crash never leaves one that nobody owns.
pub(super) fn store(directory: &Path, files: &BTreeSet<String>) -> Result<(), WriteError> {
    let path = path(directory);
    let page = Page { version: VERSION, files: files.clone() };
    let text = serde_json::to_vec_pretty(&page)
        .map_err(|error| WriteError::io("write", &path)(error.into()))?;
    match place::stage(&path, &text, None)? {
        Some(staged) => staged.commit().map(|_| ()),
        None => Ok(()),
    }
}

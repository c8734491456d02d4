//! What stops `files` from starting, and what keeps one file from being written.

use std::io;
use std::path::{Path, PathBuf};

use crate::render;

/// The configuration cannot be started with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("templates: cannot read the source {}: {error}", path.display())]
    Source { path: PathBuf, error: io::Error },
    #[error("templates: {0}")]
    Template(#[from] render::Error),
    #[error("{}: two entries of templates or files write it", path.display())]
    SharedDestination { path: PathBuf },
    #[error("{key}: {} names no file", path.display())]
    NoFile { key: &'static str, path: PathBuf },
}

/// One file could not be written; what was there before is still there, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot {action} {}: {error}", path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
    #[error("{} is no regular file", path.display())]
    NotRegular { path: PathBuf },
    #[error("writing was interrupted: {0}")]
    Interrupted(String),
}

impl WriteError {
    /// For `map_err`: what was tried, with which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
        let path = path.to_owned();
        move |error| WriteError::Io { action, path, error }
    }
}

/// A check or reload command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("{program} cannot be started: {error}")]
    Start { program: String, error: io::Error },
    #[error("{command} ended with {status}{}", after(output))]
    Status { command: String, status: String, output: String },
    #[error("{command} was stopped after {seconds} s{}", after(output))]
    TimedOut { command: String, seconds: u64, output: String },
}

fn after(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(": {output}") }
}

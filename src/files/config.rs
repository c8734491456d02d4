//! What `templates:` and `files:` ask for, already valid.

use std::path::PathBuf;
use std::time::Duration;

/// A program and its arguments, run without a shell. Never empty.
pub type Argv = Vec<String>;

#[derive(Debug, Clone, Default)]
pub struct Config {
    pub templates: Vec<TemplateSpec>,
    pub files: Vec<PrefixSpec>,
}

/// One template and the file it keeps true.
#[derive(Debug, Clone)]
pub struct TemplateSpec {
    pub source: TemplateSource,
    /// Missing directories above it are made.
    pub destination: PathBuf,
    /// Permission bits; none: those of the file that is there, else 0644.
    pub mode: Option<u32>,
    /// Run before the new text takes the file's place; `{staged}` in it stands for the path of the
    /// new text. Anything but exit status 0 keeps the old file.
    pub check: Option<Argv>,
    /// Run after the file has changed, until it has succeeded once.
    pub reload: Option<Argv>,
    pub wait: Wait,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateSource {
    /// Read once, at the start.
    Path(PathBuf),
    Contents(String),
}

/// Keys below a prefix, each a file of its relative name in a directory.
#[derive(Debug, Clone)]
pub struct PrefixSpec {
    pub prefix: String,
    pub directory: PathBuf,
    pub mode: Option<u32>,
    /// As for a template, once for every file that changed.
    pub check: Option<Argv>,
    pub reload: Option<Argv>,
    pub wait: Wait,
}

/// How a burst of changes is damped. A change after `min` of quiet acts at once; one that follows
/// closer waits for `min` of quiet, but never longer than `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub min: Duration,
    pub max: Duration,
}

impl Default for Wait {
    fn default() -> Self {
        Wait { min: Duration::from_millis(100), max: Duration::from_secs(1) }
    }
}

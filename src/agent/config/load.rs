//! Reads YAML, with errors that name the file, the line, the column and the key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::file::File;

/// Far more than any real config; keeps a wrong path from filling the memory.
const LARGEST: u64 = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot read the config: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{}: the config has {size} bytes, at most {LARGEST} are read", file.display())]
    Large { file: PathBuf, size: u64 },
    /// `place` is `:line:column` where it is known; `key` like `services[0].port: `, or empty.
    #[error("{}{place}: {key}{message}", file.display())]
    Invalid { file: PathBuf, place: String, key: String, message: String },
    /// What only shows once flags, environment and file are put together.
    #[error("{key}: {message}")]
    Setting { key: String, message: String },
}

impl ConfigError {
    pub fn setting(key: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError::Setting { key: key.into(), message: message.into() }
    }
}

/// The config of a file.
pub fn load(file: &Path) -> Result<File, ConfigError> {
    let failed = |source| ConfigError::Read { file: file.to_owned(), source };
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > LARGEST {
        return Err(ConfigError::Large { file: file.to_owned(), size });
    }
    parse(file, &fs::read_to_string(file).map_err(failed)?)
}

/// The config in `text`; `file` is what errors call it. An empty file is the default config.
pub fn parse(file: &Path, text: &str) -> Result<File, ConfigError> {
    let content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(content) {
        return Ok(File::default());
    }
    parse_as(file, text)
}

pub(super) fn parse_as<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    let mut key = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let place = match error.location() {
            Some(at) if at.line() > 0 => format!(":{}:{}", at.line(), at.column()),
            _ => String::new(),
        };
        let key = if key.is_empty() || key == "." { String::new() } else { format!("{key}: ") };
        let message = bare(&error.without_snippet().to_string());
        ConfigError::Invalid { file: file.to_owned(), place, key, message }
    })
}

/// The parser ends its messages with the place, which stands in front here.
fn bare(message: &str) -> String {
    let cut = message.rfind(" at line ").or_else(|| message.rfind("\n"));
    message.get(..cut.unwrap_or(message.len())).unwrap_or(message).trim().to_owned()
}

//! Which key becomes which file below a directory, and which cannot.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::place::NAME_MAX;
use crate::model::limits;

/// Names that hold this are ours: stages, marks, the manifest.
const RESERVED: &str = ".remora-";

/// The files that a directory shall have, by path relative to it, and the keys that have none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) files: BTreeMap<String, Bytes>,
    pub(super) refused: BTreeMap<String, Refused>,
}

/// Why a key cannot be a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("its name is not UTF-8")]
    NotText,
    #[error("it has an empty part")]
    EmptyPart,
    #[error("it has a part {0:?}")]
    Dots(String),
    #[error("it holds a NUL byte")]
    Nul,
    #[error("it has a part of {0} bytes, at most {NAME_MAX} fit")]
    TooLong(usize),
    #[error("names with {RESERVED:?} are Remora's own")]
    Reserved,
    #[error("the key {0:?} above it is a file")]
    UnderAFile(String),
    #[error("a prefix can have at most {} files", limits::PREFIX_FILES)]
    TooMany,
    /// Found out on disk.
    #[error("a file of this name is there that Remora did not write")]
    Foreign,
    /// Found out on disk.
    #[error("{0:?} is not a directory of its own")]
    Detour(String),
}

/// The part of a key after the prefix, which ends in a slash, is the path. A key that itself ends
/// in a slash is a folder, as Consul's UI makes them, and is passed over.
pub(super) fn lay_out<'a>(
    prefix: &str,
    rows: impl Iterator<Item = (&'a [u8], &'a Bytes)>,
) -> Layout {
    let mut layout = Layout::default();
    for (key, value) in rows {
        let path = key.get(prefix.len()..).unwrap_or_default();
        if path.is_empty() || path.ends_with(b"/") {
            continue;
        }
        let verdict = match std::str::from_utf8(path) {
            Ok(path) => admit(&layout, path).map(|()| path.to_owned()),
            Err(_) => Err(Refused::NotText),
        };
        match verdict {
            Ok(path) => {
                layout.files.insert(path, value.clone());
            }
            Err(refused) => {
                layout.refused.insert(String::from_utf8_lossy(key).into_owned(), refused);
            }
        }
    }
    layout
}

fn admit(layout: &Layout, path: &str) -> Result<(), Refused> {
    for part in path.split('/') {
        match part {
            "" => return Err(Refused::EmptyPart),
            "." | ".." => return Err(Refused::Dots(part.to_owned())),
            _ if part.contains('\0') => return Err(Refused::Nul),
            _ if part.contains(RESERVED) => return Err(Refused::Reserved),
            _ if part.len() > NAME_MAX => return Err(Refused::TooLong(part.len())),
            _ => {}
        }
    }
    // Keys come in order, so a key above this one has been seen.
    for above in Path::new(path).ancestors().skip(1).filter_map(Path::to_str) {
        if layout.files.contains_key(above) {
            return Err(Refused::UnderAFile(above.to_owned()));
        }
    }
    if layout.files.len() >= limits::PREFIX_FILES {
        return Err(Refused::TooMany);
    }
    Ok(())
}

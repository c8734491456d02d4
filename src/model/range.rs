//! Ranges of keys as etcd writes them.

use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// etcd's range: `end` empty is the one key, `\0` everything from `key` on, else `[key, end)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    pub key: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    /// The range of a single key.
    pub fn one(key: Bytes) -> KeyRange {
        KeyRange { key, end: Bytes::new() }
    }

    /// All keys that start with `prefix`; an empty prefix is all keys.
    pub fn prefix(prefix: &Bytes) -> KeyRange {
        let open = || Bytes::from_static(b"\0");
        if prefix.is_empty() {
            return KeyRange { key: open(), end: open() };
        }
        let end = prefix_end(prefix).map_or_else(open, Bytes::from);
        KeyRange { key: prefix.clone(), end }
    }

    /// The same as bounds of a map; those of an empty range may not be asked of one.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(self.key.as_ref());
        match self.end.as_ref() {
            b"" => (start, Bound::Included(self.key.as_ref())),
            b"\0" => (start, Bound::Unbounded),
            end => (start, Bound::Excluded(end)),
        }
    }

    /// Whether the key lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.end.as_ref() {
            b"" => key == self.key.as_ref(),
            b"\0" => key >= self.key.as_ref(),
            end => key >= self.key.as_ref() && key < end,
        }
    }

    /// What of it comes after `key`; none if nothing can.
    pub fn after(&self, key: &Bytes) -> Option<KeyRange> {
        if self.end.is_empty() {
            return None;
        }
        let next = Bytes::from([key.as_ref(), b"\0"].concat());
        let rest = KeyRange { key: next.max(self.key.clone()), end: self.end.clone() };
        (!rest.is_empty()).then_some(rest)
    }

    /// Ends before it begins: nothing is in it.
    pub fn is_empty(&self) -> bool {
        !matches!(self.end.as_ref(), b"" | b"\0") && self.end <= self.key
    }
}

/// The first byte string after everything that starts with `prefix`; none after `ff ff …`.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

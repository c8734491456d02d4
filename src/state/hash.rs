//! A checksum of the key space at one revision, for operators to compare members with.

use serde::{Deserialize, Serialize};

use crate::model::Revision;

use super::State;
use super::keys::{KeyRange, RangeError};
use super::rows::KeyRow;

/// What the keys were at a revision, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHash {
    pub hash: u32,
    pub revision: Revision,
    /// The newest compaction below that revision; 0 if there was none.
    pub compacted: Revision,
}

impl State {
    /// Of the keys as they were at `revision`, 0 for now: equal wherever the same was written,
    /// whatever was compacted since. Takes as long as reading all of them. An edge cannot say what
    /// was compacted, and so it says nothing.
    pub fn key_hash(&self, revision: Revision) -> Result<KeyHash, RangeError> {
        let current = self.revision;
        if revision > current {
            return Err(RangeError::Future { asked: revision, current });
        }
        let history = self.history.as_ref().ok_or(RangeError::NoHistory)?;
        let compacted = history.compacted();
        if revision > 0 && revision < compacted {
            return Err(RangeError::Compacted { asked: revision, compacted });
        }
        let mut sum = crc32fast::Hasher::new();
        let revision = if revision > 0 { revision } else { current };
        if revision == current {
            self.keys.iter().for_each(|(key, row)| add(&mut sum, key, row));
        } else {
            let all = KeyRange::prefix(&Default::default());
            history.rows_at(&all, revision).for_each(|(key, row)| add(&mut sum, &key, &row));
        }
        let compacted = if revision > compacted { compacted } else { history.compacted_before() };
        Ok(KeyHash { hash: sum.finalize(), revision, compacted })
    }
}

fn add(sum: &mut crc32fast::Hasher, key: &[u8], row: &KeyRow) {
    let KeyRow { value, create, modified, version, lease, flags, lock } = row;
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(&(value.len() as u64).to_le_bytes());
    sum.update(value);
    for number in [create, modified, version, &lease.0] {
        sum.update(&number.to_le_bytes());
    }
    sum.update(&flags.to_le_bytes());
    if let Some(lock) = lock {
        sum.update(&lock.holder.unwrap_or_default().0.to_le_bytes());
        sum.update(&lock.index.to_le_bytes());
    }
}

//! Questions about keys: ranges in etcd's terms, prefixes and their index in Consul's.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Revision;

pub use crate::model::KeyRange;

use super::State;
use super::rows::{Key, KeyRow};

/// What the rows of an answer are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SortBy {
    #[default]
    Key,
    Version,
    Create,
    Modified,
    Value,
}

/// etcd's range request. Zero means no bound for `limit`, `revision` and the four limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeQuery {
    pub range: KeyRange,
    pub limit: i64,
    pub revision: Revision,
    pub sort_by: SortBy,
    pub descending: bool,
    pub count_only: bool,
    pub min_modified: Revision,
    pub max_modified: Revision,
    pub min_create: Revision,
    pub max_create: Revision,
}

impl RangeQuery {
    /// Everything in the range now, in order of keys.
    pub fn new(range: KeyRange) -> RangeQuery {
        RangeQuery {
            range,
            limit: 0,
            revision: 0,
            sort_by: SortBy::Key,
            descending: false,
            count_only: false,
            min_modified: 0,
            max_modified: 0,
            min_create: 0,
            max_create: 0,
        }
    }

    /// The answer, from the rows of the range at the revision asked for, in order.
    pub fn select(&self, rows: impl Iterator<Item = (Key, Arc<KeyRow>)>) -> RangeResult {
        select(self, rows)
    }
}

/// The answer to a range request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RangeResult {
    pub rows: Vec<(Key, Arc<KeyRow>)>,
    /// `limit` cut rows away.
    pub more: bool,
    /// Keys in the range, whatever `limit` and the limits of revision cut away.
    pub count: u64,
}

/// Why a range cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("revision {asked} has been compacted, history begins at {compacted}")]
    Compacted { asked: Revision, compacted: Revision },
    #[error("revision {asked} is in the future, the newest is {current}")]
    Future { asked: Revision, current: Revision },
    #[error("this agent keeps no history")]
    NoHistory,
}

impl State {
    /// The key's current row.
    pub fn key(&self, key: &[u8]) -> Option<&Arc<KeyRow>> {
        self.keys.get(key)
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Current keys of a range in order.
    pub fn keys_in<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<KeyRow>)> {
        let bounds = if range.is_empty() {
            // A range that ends before it begins would panic in the map.
            (Bound::Included(&b""[..]), Bound::Excluded(&b""[..]))
        } else {
            range.bounds()
        };
        self.keys.range::<_, [u8]>(bounds)
    }

    /// Current keys that start with `prefix`, in order; empty: all.
    pub fn keys_with_prefix<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<KeyRow>)> {
        self.keys
            .range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The revision a blocking query on one key answers with: its own, else its deletion's, else
    /// the key space's. Never below the revision that everything was restored at.
    pub fn key_index(&self, key: &[u8]) -> Revision {
        match (self.keys.get(key), self.tombstones.get(key)) {
            (Some(row), _) => row.modified.max(self.identity.restored),
            (None, Some(tombstone)) => tombstone.revision,
            (None, None) => self.revision,
        }
    }

    /// The same for a prefix: the newest write or remembered deletion under it, else the key
    /// space's revision.
    pub fn prefix_index(&self, prefix: &[u8]) -> Revision {
        self.last_under(prefix).map_or(self.revision, |revision| revision.max(self.floor))
    }

    /// The newest write or remembered deletion under a prefix.
    fn last_under(&self, prefix: &[u8]) -> Option<Revision> {
        let written = self.keys_with_prefix(prefix).map(|(_, row)| row.modified).max();
        let deleted = self
            .tombstones
            .range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, tombstone)| tombstone.revision)
            .max();
        written.max(deleted)
    }

    /// The last change of a key that is known; of one that is absent without a trace, the floor
    /// below which deletions are forgotten. Unlike `key_index` nothing else moves it.
    pub fn key_changed(&self, key: &[u8]) -> Revision {
        let known = match (self.keys.get(key), self.tombstones.get(key)) {
            (Some(row), _) => row.modified.max(self.identity.restored),
            (None, tombstone) => tombstone.map_or(self.floor, |tombstone| tombstone.revision),
        };
        known.max(self.floor)
    }

    /// The same of a prefix.
    pub fn prefix_changed(&self, prefix: &[u8]) -> Revision {
        self.last_under(prefix).unwrap_or_default().max(self.floor)
    }

    /// A blocking query on a prefix whose index is below this cannot know what it missed, and is
    /// answered at once; who waits already has been woken by the deletion itself.
    pub fn deletion_floor(&self) -> Revision {
        self.floor
    }

    /// Whether it knows how the keys were at a revision.
    pub(super) fn holds(&self, asked: Revision) -> Result<(), RangeError> {
        let current = self.revision;
        if asked > current {
            return Err(RangeError::Future { asked, current });
        }
        if asked == current {
            return Ok(());
        }
        let compacted = self.history.as_ref().ok_or(RangeError::NoHistory)?.compacted();
        if asked < compacted { Err(RangeError::Compacted { asked, compacted }) } else { Ok(()) }
    }

    /// etcd's range, now or at a past revision.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeResult, RangeError> {
        let current = self.revision;
        if query.revision > 0 {
            self.holds(query.revision)?;
        }
        if query.revision <= 0 || query.revision == current {
            if query.count_only {
                let count = self.keys_in(&query.range).count() as u64;
                return Ok(RangeResult { count, ..RangeResult::default() });
            }
            let rows = self.keys_in(&query.range).map(|(k, r)| (k.clone(), r.clone()));
            return Ok(select(query, rows));
        }
        let history = self.history.as_ref().ok_or(RangeError::NoHistory)?;
        Ok(select(query, history.rows_at(&query.range, query.revision)))
    }
}

/// Filters, sorts and cuts as etcd does: `count` counts before the filters, `more` after.
fn select(query: &RangeQuery, rows: impl Iterator<Item = (Key, Arc<KeyRow>)>) -> RangeResult {
    let mut count = 0;
    let mut chosen: Vec<(Key, Arc<KeyRow>)> = Vec::new();
    let limit = usize::try_from(query.limit).ok().filter(|limit| *limit > 0);
    let filtered = query.min_modified != 0
        || query.max_modified != 0
        || query.min_create != 0
        || query.max_create != 0;
    // In key order the first `limit` rows are the answer: the rest need only be counted.
    let in_order = query.sort_by == SortBy::Key && !query.descending && !filtered;
    for (key, row) in rows {
        count += 1;
        if query.count_only || (in_order && limit.is_some_and(|limit| chosen.len() >= limit)) {
            continue;
        }
        if passes(query, &row) {
            chosen.push((key, row));
        }
    }
    if !in_order {
        sort(query, &mut chosen);
    }
    let mut more = in_order && !query.count_only && count > chosen.len() as u64;
    if let Some(limit) = limit
        && chosen.len() > limit
    {
        chosen.truncate(limit);
        more = true;
    }
    RangeResult { rows: chosen, more, count }
}

fn passes(query: &RangeQuery, row: &KeyRow) -> bool {
    // A bound below zero is one, too: 0 alone is none.
    let within = |value, min, max| value >= min && (max == 0 || value <= max);
    within(row.modified, query.min_modified, query.max_modified)
        && within(row.create, query.min_create, query.max_create)
}

fn sort(query: &RangeQuery, rows: &mut [(Key, Arc<KeyRow>)]) {
    rows.sort_by(|(left_key, left), (right_key, right)| {
        let order = match query.sort_by {
            SortBy::Key => left_key.cmp(right_key),
            SortBy::Version => left.version.cmp(&right.version),
            SortBy::Create => left.create.cmp(&right.create),
            SortBy::Modified => left.modified.cmp(&right.modified),
            SortBy::Value => left.value.cmp(&right.value),
        };
        if query.descending { order.reverse() } else { order }
    });
}

//! etcd's transactions: conditions on keys, and what is done when they hold and when not.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{LeaseId, Revision};

use super::State;
use super::command::{DeleteRange, Put};
use super::keys::{KeyRange, RangeQuery, RangeResult};
use super::rows::{Key, KeyRow};

/// One branch of operations or the other. All conditions are looked at before anything is done,
/// those of transactions inside it too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold for `success`; none is none that fails.
    pub compare: Vec<Compare>,
    pub success: Vec<TxnOp>,
    pub failure: Vec<TxnOp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    Range(RangeQuery),
    Put(Put),
    Delete(DeleteRange),
    Txn(Txn),
}

/// A condition that every key of the range has to meet. A range without keys is judged as one key
/// that was never written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub range: KeyRange,
    /// How the key's own stands to the value asked about.
    pub relation: Relation,
    pub target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    Equal,
    Greater,
    Less,
    NotEqual,
    /// Holds whatever stands there.
    Any,
}

/// What is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Version(i64),
    Create(Revision),
    Modified(Revision),
    /// No condition on the value of an absent key holds.
    Value(Bytes),
    Lease(LeaseId),
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnDone {
    /// Which branch was taken.
    pub succeeded: bool,
    /// One for each operation of that branch.
    pub answers: Vec<TxnAnswer>,
}

/// Each with the key space's revision once it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnAnswer {
    Range { result: RangeResult, revision: Revision },
    Put { prev: Option<Arc<KeyRow>>, revision: Revision },
    Deleted { count: u64, prev: Vec<(Key, Arc<KeyRow>)>, revision: Revision },
    Txn(TxnDone),
}

impl Txn {
    /// Whether no branch of it writes: it can be answered from a state.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            TxnOp::Range(_) => true,
            TxnOp::Put(_) | TxnOp::Delete(_) => false,
            TxnOp::Txn(txn) => txn.is_read_only(),
        })
    }

    /// The branch that this state asks for.
    pub(super) fn branch(&self, state: &State) -> (bool, &[TxnOp]) {
        match self.compare.iter().all(|compare| compare.holds(state)) {
            true => (true, &self.success),
            false => (false, &self.failure),
        }
    }
}

impl Compare {
    fn holds(&self, state: &State) -> bool {
        let mut rows = state.keys_in(&self.range).map(|(_, row)| &**row).peekable();
        match rows.peek() {
            Some(_) => rows.all(|row| self.holds_for(Some(row))),
            None => self.holds_for(None),
        }
    }

    fn holds_for(&self, row: Option<&KeyRow>) -> bool {
        let order = match &self.target {
            Target::Version(version) => row.map_or(0, |row| row.version).cmp(version),
            Target::Create(revision) => row.map_or(0, |row| row.create).cmp(revision),
            Target::Modified(revision) => row.map_or(0, |row| row.modified).cmp(revision),
            Target::Lease(lease) => row.map_or(0, |row| row.lease.0).cmp(&lease.0),
            Target::Value(value) => match row {
                Some(row) => row.value.cmp(value),
                None => return false,
            },
        };
        match self.relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::Greater => order == Ordering::Greater,
            Relation::Less => order == Ordering::Less,
            Relation::NotEqual => order != Ordering::Equal,
            Relation::Any => true,
        }
    }
}

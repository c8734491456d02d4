//! Consul's transactions: operations in order, each seeing those before, all of them or none.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::access::Denied;
use crate::model::{CheckDef, Folded, Health, Index, Revision, ServiceDef, SessionId};

use super::command::Refusal;
use super::rows::{CheckKey, CheckRow, InstanceKey, InstanceRow, Key, KeyRow, NodeDef, NodeRow};

/// One operation, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceOp {
    /// Of a key; where it is of a tree, of all that start with it.
    Key(Key, KeyOp),
    Node(Folded, RowOp<NodeDef>),
    Instance(InstanceKey, RowOp<ServiceDef>),
    Check(CheckKey, RowOp<CheckPut>),
}

/// What is put into a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPut {
    pub value: Bytes,
    pub flags: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyOp {
    Get,
    /// A key that is not there is shown as one that was never written.
    GetOrEmpty,
    GetTree,
    Set(KeyPut),
    /// At that revision only; 0: where the key is absent.
    Cas(KeyPut, Revision),
    Lock(KeyPut, SessionId),
    Unlock(KeyPut, SessionId),
    Delete,
    DeleteTree,
    DeleteCas(Revision),
    CheckIndex(Revision),
    /// None: nobody must have it.
    CheckSession(Option<SessionId>),
    CheckAbsent,
}

/// What is done to a row of the catalog; `cas` is the index that must be its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowOp<T> {
    Get,
    Set(T),
    /// 0: where it is absent.
    Cas(T, Index),
    Delete,
    DeleteCas(Index),
}

/// A check as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPut {
    pub def: CheckDef,
    pub status: Health,
    pub output: String,
}

/// What an operation shows. A key that was written is shown without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    Key(Key, Arc<KeyRow>),
    Node(Arc<NodeRow>),
    Instance(Arc<InstanceRow>),
    Check(Arc<CheckRow>),
}

/// An operation that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpFailure {
    /// Its place among the operations, from 0.
    pub op: usize,
    /// It was seen before anything was tried: then nothing is, and only such failures are told.
    pub early: bool,
    pub why: OpError,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpError {
    Denied(Denied),
    /// Nobody may take the key for now.
    Delayed,
    /// Who it is about is not there.
    Missing,
    Exists,
    /// It was last changed elsewhere.
    Stale,
    /// The same of a key that is only looked at.
    StaleAt(Revision),
    NoSession(SessionId),
    /// Another session has the key.
    Held,
    /// The session does not have the key.
    NotHeld,
    /// Who has the key that was to be another's.
    HeldBy(Option<SessionId>),
    Refused(Refusal),
}

/// What all of it shows, or every operation that cannot be done.
pub type Sequenced = Result<Vec<Shown>, Vec<OpFailure>>;

impl SequenceOp {
    /// It only looks.
    pub fn is_read(&self) -> bool {
        match self {
            SequenceOp::Key(_, op) => op.is_read(),
            SequenceOp::Node(_, op) => matches!(op, RowOp::Get),
            SequenceOp::Instance(_, op) => matches!(op, RowOp::Get),
            SequenceOp::Check(_, op) => matches!(op, RowOp::Get),
        }
    }

    /// It writes a key, or takes one away.
    pub(super) fn writes_key(&self) -> bool {
        matches!(self, SequenceOp::Key(_, op) if !op.is_read())
    }

    /// It lets a key go.
    pub(super) fn releases(&self) -> bool {
        matches!(self, SequenceOp::Key(_, KeyOp::Unlock(..)))
    }

    /// It may make the key space larger.
    pub(super) fn grows(&self) -> bool {
        matches!(self, SequenceOp::Key(_, KeyOp::Set(_) | KeyOp::Cas(..) | KeyOp::Lock(..)))
    }
}

impl KeyOp {
    fn is_read(&self) -> bool {
        match self {
            KeyOp::Get
            | KeyOp::GetOrEmpty
            | KeyOp::GetTree
            | KeyOp::CheckIndex(_)
            | KeyOp::CheckSession(_)
            | KeyOp::CheckAbsent => true,
            KeyOp::Set(_)
            | KeyOp::Cas(..)
            | KeyOp::Lock(..)
            | KeyOp::Unlock(..)
            | KeyOp::Delete
            | KeyOp::DeleteTree
            | KeyOp::DeleteCas(_) => false,
        }
    }
}

//! etcd's transactions: what a request may be, and how its answer looks. Pure.

use std::collections::BTreeSet;

use crate::model::LeaseId;
use crate::state::{Compare, Key, KeyRange, Relation, Target, Txn, TxnAnswer, TxnDone, TxnOp};

use super::error::Failure;
use super::kv;
use super::proto::compare::TargetUnion;
use super::proto::request_op::Request;
use super::proto::response_op::Response;
use super::proto::{
    self, DeleteRangeResponse, PutResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
    TxnResponse,
};

/// The transaction that is asked for, both branches checked, of at most so many operations.
pub(super) fn checked(request: &TxnRequest, most: usize) -> Result<Txn, Failure> {
    let txn = within(request, most)?;
    distinct(&request.success)?;
    distinct(&request.failure)?;
    Ok(txn)
}

/// A transaction inside counts against what its outer one left over.
fn within(request: &TxnRequest, most: usize) -> Result<Txn, Failure> {
    let size = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = most
        .checked_sub(size)
        .ok_or_else(|| Failure::invalid("etcdserver: too many operations in txn request"))?;
    let ops = |ops: &[RequestOp]| -> Result<Vec<TxnOp>, Failure> {
        ops.iter().map(|op| operation(op, left)).collect()
    };
    Ok(Txn {
        compare: request.compare.iter().map(compare).collect::<Result<_, _>>()?,
        success: ops(&request.success)?,
        failure: ops(&request.failure)?,
    })
}

fn operation(op: &RequestOp, left: usize) -> Result<TxnOp, Failure> {
    match &op.request {
        Some(Request::RequestRange(range)) => Ok(TxnOp::Range(kv::query(range)?)),
        Some(Request::RequestPut(put)) => Ok(TxnOp::Put(kv::put_of(put)?)),
        Some(Request::RequestDeleteRange(delete)) => Ok(TxnOp::Delete(kv::deletion_of(delete)?)),
        Some(Request::RequestTxn(inner)) => Ok(TxnOp::Txn(within(inner, left)?)),
        None => Err(Failure::invalid("etcdserver: key not found")),
    }
}

/// `target` decides what is compared: a value given for another counts as not given.
fn compare(compare: &proto::Compare) -> Result<Compare, Failure> {
    let given = compare.target_union.as_ref();
    let target = match compare.target {
        1 => Target::Create(match given {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        2 => Target::Modified(match given {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        3 => Target::Value(match given {
            Some(TargetUnion::Value(value)) => value.clone(),
            _ => Key::new(),
        }),
        4 => Target::Lease(LeaseId(match given {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        })),
        _ => Target::Version(match given {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
    };
    let relation = match compare.result {
        0 => Relation::Equal,
        1 => Relation::Greater,
        2 => Relation::Less,
        3 => Relation::NotEqual,
        _ => Relation::Any,
    };
    let range = kv::range_of(&compare.key, &compare.range_end)?;
    Ok(Compare { range, relation, target })
}

/// What a list of operations writes: keys put, and ranges deleted.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Key>,
    deletions: Vec<KeyRange>,
}

/// No key may be put twice, nor put and deleted; but for what etcd lets through: a transaction
/// inside may delete what one before it puts.
fn distinct(ops: &[RequestOp]) -> Result<Writes, Failure> {
    let mut all = Writes::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            let (key, end) = (delete.key.clone(), delete.range_end.clone());
            all.deletions.push(KeyRange { key, end });
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(inner)) = &op.request {
            let (success, failure) = (distinct(&inner.success)?, distinct(&inner.failure)?);
            // Only one branch is taken: the two may write the same.
            let other: Vec<&Key> = failure.puts.difference(&success.puts).collect();
            all.are_free(success.puts.iter().chain(other))?;
            all.are_kept(&failure.puts)?;
            all.puts.extend(success.puts.into_iter().chain(failure.puts));
            all.deletions.extend(success.deletions.into_iter().chain(failure.deletions));
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            all.are_free([&put.key])?;
            all.puts.insert(put.key.clone());
        }
    }
    Ok(all)
}

impl Writes {
    /// Whether none of the keys is put or deleted.
    fn are_free<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Result<(), Failure> {
        let mut keys = keys.into_iter();
        let taken = keys.any(|key| self.puts.contains(key) || self.is_deleted(key));
        if taken { Err(duplicate()) } else { Ok(()) }
    }

    /// Whether none of them is deleted.
    fn are_kept(&self, keys: &BTreeSet<Key>) -> Result<(), Failure> {
        if keys.iter().any(|key| self.is_deleted(key)) { Err(duplicate()) } else { Ok(()) }
    }

    /// The ends count as they stand: nothing lies below a zero byte, which stands for all keys from
    /// one on elsewhere. What is put there comes before or after, in the order asked for.
    fn is_deleted(&self, key: &Key) -> bool {
        self.deletions.iter().any(|range| match range.end.as_ref() {
            b"" => range.key == key,
            end => range.key <= key && key.as_ref() < end,
        })
    }
}

fn duplicate() -> Failure {
    Failure::invalid("etcdserver: duplicate key given in txn request")
}

/// Whether what this agent has is good enough for all of it.
pub(super) fn is_serializable(request: &TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestTxn(inner)) => is_serializable(inner),
        _ => true,
    })
}

pub(super) fn answered(request: &TxnRequest, done: TxnDone, header: ResponseHeader) -> TxnResponse {
    let branch = if done.succeeded { &request.success } else { &request.failure };
    let responses = branch.iter().zip(done.answers).map(|(op, answer)| {
        let asked = op.request.as_ref();
        ResponseOp { response: asked.map(|asked| response(asked, answer)) }
    });
    TxnResponse { header: Some(header), succeeded: done.succeeded, responses: responses.collect() }
}

/// Of the header inside a transaction only the revision is set.
fn response(asked: &Request, answer: TxnAnswer) -> Response {
    let header = |revision| ResponseHeader { revision, ..ResponseHeader::default() };
    match (asked, answer) {
        (Request::RequestTxn(inner), TxnAnswer::Txn(done)) => {
            Response::ResponseTxn(answered(inner, done, ResponseHeader::default()))
        }
        (asked, TxnAnswer::Range { result, revision }) => {
            let keys_only = matches!(asked, Request::RequestRange(range) if range.keys_only);
            Response::ResponseRange(kv::ranged(&result, keys_only, header(revision)))
        }
        (asked, TxnAnswer::Put { prev, revision }) => {
            let key = match asked {
                Request::RequestPut(put) => put.key.clone(),
                _ => Key::new(),
            };
            Response::ResponsePut(PutResponse {
                header: Some(header(revision)),
                prev_kv: prev.map(|row| kv::key_value(&key, &row, false)),
            })
        }
        (_, TxnAnswer::Deleted { count, prev, revision }) => {
            Response::ResponseDeleteRange(DeleteRangeResponse {
                header: Some(header(revision)),
                deleted: kv::count(count),
                prev_kvs: kv::key_values(&prev, false),
            })
        }
        (_, TxnAnswer::Txn(done)) => Response::ResponseTxn(TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded: done.succeeded,
            responses: Vec::new(),
        }),
    }
}

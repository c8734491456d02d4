//! Keys in etcd's terms, whatever protocol carried the call.

use std::sync::Arc;

use prost::Message as _;

use crate::access::Need;
use crate::cluster::Consistency;
use crate::model::{LeaseId, Revision, limits};
use crate::state::{
    Command, DeleteRange, Key, KeyRange, KeyRow, Outcome, Put, RangeError, RangeQuery, RangeResult,
    Refusal, SortBy, State,
};

use super::error::{Code, Failure};
use super::gate::Visit;
use super::proto::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, KeyValue,
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use super::{Front, past, txn};

/// What etcd's log puts around a request.
const ENVELOPE: usize = 18;

/// Of every answer: whose it is and how far the store had come.
pub(super) fn header(front: &Front, state: &State) -> ResponseHeader {
    header_at(front, state, state.revision())
}

/// The same of another revision than the state's.
pub(super) fn header_at(front: &Front, state: &State, revision: Revision) -> ResponseHeader {
    let seat = front.cluster.seat();
    // etcd's ids have 64 bits; ours are drawn at random, so any 64 of them are as good.
    let cluster_id = state.identity().cluster as u64;
    let (member_id, raft_term) = (seat.id.0, seat.term);
    ResponseHeader { cluster_id, member_id, revision, raft_term }
}

/// The same at this moment.
pub(super) fn header_now(front: &Front) -> ResponseHeader {
    header(front, &front.cluster.snapshot())
}

/// A key as clients see it.
pub(super) fn key_value(key: &Key, row: &KeyRow, keys_only: bool) -> KeyValue {
    KeyValue {
        key: key.clone(),
        create_revision: row.create,
        mod_revision: row.modified,
        version: row.version,
        value: if keys_only { Key::new() } else { row.value.clone() },
        lease: row.lease.0,
    }
}

pub(super) fn key_values(rows: &[(Key, Arc<KeyRow>)], keys_only: bool) -> Vec<KeyValue> {
    rows.iter().map(|(key, row)| key_value(key, row, keys_only)).collect()
}

/// Numbers of 64 bits are signed in etcd's messages.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The question that a request asks.
pub(super) fn query(request: &RangeRequest) -> Result<RangeQuery, Failure> {
    let sort_by = match request.sort_target {
        0 => SortBy::Key,
        1 => SortBy::Version,
        2 => SortBy::Create,
        3 => SortBy::Modified,
        4 => SortBy::Value,
        _ => return Err(Failure::invalid("etcdserver: invalid sort option")),
    };
    // In an order that is not known nothing is sorted, whatever by.
    let known = (0..=2).contains(&request.sort_order);
    Ok(RangeQuery {
        range: range_of(&request.key, &request.range_end)?,
        limit: request.limit,
        revision: request.revision,
        sort_by: if known { sort_by } else { SortBy::Key },
        descending: request.sort_order == 2,
        count_only: request.count_only,
        min_modified: request.min_mod_revision,
        max_modified: request.max_mod_revision,
        min_create: request.min_create_revision,
        max_create: request.max_create_revision,
    })
}

pub(super) fn range_of(key: &Key, end: &Key) -> Result<KeyRange, Failure> {
    if key.is_empty() {
        return Err(Failure::invalid("etcdserver: key is not provided"));
    }
    Ok(KeyRange { key: key.clone(), end: end.clone() })
}

pub(super) fn put_of(request: &PutRequest) -> Result<Put, Failure> {
    if request.key.is_empty() {
        return Err(Failure::invalid("etcdserver: key is not provided"));
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Failure::invalid("etcdserver: value is provided"));
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Failure::invalid("etcdserver: lease is provided"));
    }
    Ok(Put {
        key: request.key.clone(),
        value: request.value.clone(),
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

pub(super) fn deletion_of(request: &DeleteRangeRequest) -> Result<DeleteRange, Failure> {
    let range = range_of(&request.key, &request.range_end)?;
    Ok(DeleteRange { range, prev_kv: request.prev_kv })
}

/// Refuses what is too long for the log. `len` is that of the request's protobuf.
fn fits(front: &Front, len: usize) -> Result<(), Failure> {
    match len {
        len if len > limits::ETCD_MESSAGE => Err(too_long(len as u64)),
        len if len + ENVELOPE > front.config.request_limit => Err(Failure::too_large()),
        _ => Ok(()),
    }
}

/// gRPC's own word for a message that it does not take.
pub(super) fn too_long(len: u64) -> Failure {
    let max = limits::ETCD_MESSAGE;
    let text = format!("grpc: received message larger than max ({len} vs. {max})");
    Failure::new(Code::ResourceExhausted, text)
}

/// Everything that was acknowledged, or what this agent has where the caller says `serializable`.
async fn read(visit: &Visit, serializable: bool) -> Result<Arc<State>, Failure> {
    let how = if serializable { Consistency::Local } else { Consistency::Linearizable };
    Ok(visit.front.cluster.read(how).await?)
}

pub(super) async fn range(visit: Visit, request: RangeRequest) -> Result<RangeResponse, Failure> {
    let query = query(&request)?;
    let state = read(&visit, request.serializable).await?;
    visit.may(&state, Need::Read(&query.range))?;
    let result = match state.range(&query) {
        Err(RangeError::NoHistory) => past::range(&visit.front, &query).await?,
        result => result?,
    };
    visit.front.counts.ranges.inc();
    let header = header(&visit.front, &state);
    Ok(ranged(&result, request.keys_only, header))
}

pub(super) fn ranged(
    result: &RangeResult,
    keys_only: bool,
    header: ResponseHeader,
) -> RangeResponse {
    RangeResponse {
        header: Some(header),
        kvs: key_values(&result.rows, keys_only),
        more: result.more,
        count: count(result.count),
    }
}

/// Has the leader apply a command; a refusal is a failure.
pub(super) async fn propose(visit: &Visit, command: Command) -> Result<Outcome, Failure> {
    match visit.front.cluster.propose_for(&visit.asker, command).await? {
        Outcome::Refused(refusal) => Err(refusal.into()),
        outcome => Ok(outcome),
    }
}

pub(super) async fn put(visit: Visit, request: PutRequest) -> Result<PutResponse, Failure> {
    let put = put_of(&request)?;
    fits(&visit.front, request.encoded_len())?;
    match propose(&visit, Command::Put(put)).await? {
        Outcome::Put { prev, revision } => {
            visit.front.counts.puts.inc();
            Ok(PutResponse {
                header: Some(header_at(&visit.front, &visit.front.cluster.snapshot(), revision)),
                prev_kv: prev.map(|row| key_value(&request.key, &row, false)),
            })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn delete_range(
    visit: Visit,
    request: DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Failure> {
    match propose(&visit, Command::DeleteRange(deletion_of(&request)?)).await? {
        Outcome::Deleted { count: deleted, prev, revision } => {
            visit.front.counts.deletes.inc();
            Ok(DeleteRangeResponse {
                header: Some(header_at(&visit.front, &visit.front.cluster.snapshot(), revision)),
                deleted: count(deleted),
                prev_kvs: key_values(&prev, false),
            })
        }
        other => Err(unexpected(&other)),
    }
}

/// One that writes nothing is read like a range: stale only if all of its ranges may be.
pub(super) async fn txn(visit: Visit, request: TxnRequest) -> Result<TxnResponse, Failure> {
    let asked = txn::checked(&request, visit.front.config.txn_ops)?;
    fits(&visit.front, request.encoded_len())?;
    let (done, state, revision) = if asked.is_read_only() {
        let state = read(&visit, txn::is_serializable(&request)).await?;
        state.permits_reading(&visit.asker.caller, &asked)?;
        let done = match state.read_txn(&asked) {
            Err(Refusal::NoHistory) => past::txn(&visit.front, asked).await?,
            done => done.map_err(Failure::from)?,
        };
        let revision = state.revision();
        (done, state, revision)
    } else {
        match propose(&visit, Command::Txn(asked)).await? {
            Outcome::Txn { done, revision } => (done, visit.front.cluster.snapshot(), revision),
            other => return Err(unexpected(&other)),
        }
    };
    let header = header_at(&visit.front, &state, revision);
    let answer = txn::answered(&request, done, header);
    visit.front.counts.txn(&answer);
    Ok(answer)
}

/// History below the revision goes at once, whether the caller says `physical` or not.
pub(super) async fn compact(
    visit: Visit,
    request: CompactionRequest,
) -> Result<CompactionResponse, Failure> {
    propose(&visit, Command::Compact(request.revision)).await?;
    let header = header_now(&visit.front);
    Ok(CompactionResponse { header: Some(header) })
}

pub(super) fn unexpected(outcome: &Outcome) -> Failure {
    Failure::new(Code::Unknown, format!("unexpected outcome {outcome:?}"))
}

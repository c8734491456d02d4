//! Put, Range and DeleteRange in etcd's terms, whatever protocol carried them.

use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::{Cluster, Consistency};
use crate::model::{LeaseId, Revision, limits};
use crate::state::{
    Command, DeleteRange, Key, KeyRange, KeyRow, Outcome, Put, RangeQuery, RangeResult, SortBy,
    State,
};

use super::error::{Code, Failure};

/// What etcd's log puts around a put.
const ENVELOPE: usize = 18;

/// Of every answer: whose it is and how far the store had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub cluster_id: u64,
    pub member_id: u64,
    pub revision: Revision,
    pub raft_term: u64,
}

impl Header {
    pub fn of(cluster: &Cluster, state: &State, revision: Revision) -> Header {
        let standing = cluster.standing();
        // etcd's ids have 64 bits; ours are drawn at random, so any 64 of them are as good.
        let cluster_id = state.identity().cluster as u64;
        let (member_id, raft_term) = (standing.id.0, standing.term);
        Header { cluster_id, member_id, revision, raft_term }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    pub limit: i64,
    pub revision: Revision,
    /// 0 none, 1 ascending, 2 descending; other numbers as none.
    pub sort_order: i32,
    /// 0 key, 1 version, 2 create, 3 mod, 4 value.
    pub sort_target: i32,
    pub serializable: bool,
    pub keys_only: bool,
    pub count_only: bool,
    pub mod_revision: Bounds,
    pub create_revision: Bounds,
}

/// Both inclusive; 0 is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    pub min: Revision,
    pub max: Revision,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: i64,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    pub prev_kv: bool,
}

impl RangeRequest {
    /// The question to ask a state.
    pub fn query(&self) -> Result<RangeQuery, Failure> {
        if self.key.is_empty() {
            return Err(Failure::invalid("etcdserver: key is not provided"));
        }
        let sort_by = match self.sort_target {
            0 => SortBy::Key,
            1 => SortBy::Version,
            2 => SortBy::Create,
            3 => SortBy::Modified,
            4 => SortBy::Value,
            _ => return Err(Failure::invalid("etcdserver: invalid sort option")),
        };
        Ok(RangeQuery {
            range: KeyRange { key: self.key.clone(), end: self.range_end.clone() },
            limit: self.limit,
            revision: self.revision,
            sort_by,
            descending: self.sort_order == 2,
            count_only: self.count_only,
            min_modified: self.mod_revision.min,
            max_modified: self.mod_revision.max,
            min_create: self.create_revision.min,
            max_create: self.create_revision.max,
        })
    }
}

impl PutRequest {
    /// The command to propose, if the request can be one at all.
    pub fn command(&self, request_limit: usize) -> Result<Command, Failure> {
        let size = self.encoded_len();
        if size > limits::ETCD_MESSAGE {
            return Err(Failure::new(
                Code::ResourceExhausted,
                format!(
                    "grpc: received message larger than max ({size} vs. {})",
                    limits::ETCD_MESSAGE
                ),
            ));
        }
        if self.key.is_empty() {
            return Err(Failure::invalid("etcdserver: key is not provided"));
        }
        if self.ignore_value && !self.value.is_empty() {
            return Err(Failure::invalid("etcdserver: value is provided"));
        }
        if self.ignore_lease && self.lease != 0 {
            return Err(Failure::invalid("etcdserver: lease is provided"));
        }
        if size + ENVELOPE > request_limit {
            return Err(Failure::too_large());
        }
        Ok(Command::Put(Put {
            key: self.key.clone(),
            value: self.value.clone(),
            lease: LeaseId(self.lease),
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        }))
    }

    /// Bytes of the request as protobuf.
    fn encoded_len(&self) -> usize {
        let bytes = |len: usize| if len == 0 { 0 } else { 1 + varint(len as u64) + len };
        let number = |n: i64| if n == 0 { 0 } else { 1 + varint(n as u64) };
        let flags = [self.prev_kv, self.ignore_value, self.ignore_lease];
        let flags = flags.iter().filter(|flag| **flag).count() * 2;
        bytes(self.key.len()) + bytes(self.value.len()) + number(self.lease) + flags
    }
}

fn varint(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

impl DeleteRangeRequest {
    pub fn command(&self) -> Result<Command, Failure> {
        if self.key.is_empty() {
            return Err(Failure::invalid("etcdserver: key is not provided"));
        }
        let range = KeyRange { key: self.key.clone(), end: self.range_end.clone() };
        Ok(Command::DeleteRange(DeleteRange { range, prev_kv: self.prev_kv }))
    }
}

/// Reads through a read index, or what this agent has where the caller says `serializable`.
pub async fn range(
    cluster: &Cluster,
    request: &RangeRequest,
) -> Result<(Header, RangeResult), Failure> {
    let query = request.query()?;
    let state = if request.serializable {
        cluster.read(Consistency::Local).await?
    } else {
        cluster.read(Consistency::Linearizable).await?
    };
    let result = state.range(&query)?;
    Ok((Header::of(cluster, &state, state.revision()), result))
}

/// What a put returns: the row that was there, if it was asked for.
pub async fn put(
    cluster: &Cluster,
    request: &PutRequest,
    request_limit: usize,
) -> Result<(Header, Option<Arc<KeyRow>>), Failure> {
    match cluster.propose(request.command(request_limit)?).await? {
        Outcome::Put { prev, revision } => {
            Ok((Header::of(cluster, &cluster.snapshot(), revision), prev))
        }
        other => Err(unexpected(&other)),
    }
}

/// How many keys went, and their rows, if they were asked for.
pub type Deleted = (u64, Vec<(Key, Arc<KeyRow>)>);

pub async fn delete_range(
    cluster: &Cluster,
    request: &DeleteRangeRequest,
) -> Result<(Header, Deleted), Failure> {
    match cluster.propose(request.command()?).await? {
        Outcome::Deleted { count, prev, revision } => {
            Ok((Header::of(cluster, &cluster.snapshot(), revision), (count, prev)))
        }
        other => Err(unexpected(&other)),
    }
}

fn unexpected(outcome: &Outcome) -> Failure {
    match outcome {
        Outcome::Refused(refusal) => refusal.clone().into(),
        other => Failure::new(Code::Unknown, format!("unexpected outcome {other:?}")),
    }
}

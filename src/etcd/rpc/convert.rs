//! Between etcd's messages and the calls they ask for.

use std::sync::Arc;

use tonic::{Code as RpcCode, Status};

use crate::etcd::error::{Code, Failure};
use crate::etcd::kv::{Bounds, DeleteRangeRequest, Header, PutRequest, RangeRequest};
use crate::state::{Key, KeyRow};

use super::{etcdserverpb, mvccpb};

impl From<etcdserverpb::RangeRequest> for RangeRequest {
    fn from(request: etcdserverpb::RangeRequest) -> RangeRequest {
        RangeRequest {
            key: request.key,
            range_end: request.range_end,
            limit: request.limit,
            revision: request.revision,
            sort_order: request.sort_order,
            sort_target: request.sort_target,
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            mod_revision: Bounds { min: request.min_mod_revision, max: request.max_mod_revision },
            create_revision: Bounds {
                min: request.min_create_revision,
                max: request.max_create_revision,
            },
        }
    }
}

impl From<etcdserverpb::PutRequest> for PutRequest {
    fn from(request: etcdserverpb::PutRequest) -> PutRequest {
        PutRequest {
            key: request.key,
            value: request.value,
            lease: request.lease,
            prev_kv: request.prev_kv,
            ignore_value: request.ignore_value,
            ignore_lease: request.ignore_lease,
        }
    }
}

impl From<etcdserverpb::DeleteRangeRequest> for DeleteRangeRequest {
    fn from(request: etcdserverpb::DeleteRangeRequest) -> DeleteRangeRequest {
        let etcdserverpb::DeleteRangeRequest { key, range_end, prev_kv } = request;
        DeleteRangeRequest { key, range_end, prev_kv }
    }
}

impl From<Header> for etcdserverpb::ResponseHeader {
    fn from(header: Header) -> etcdserverpb::ResponseHeader {
        let Header { cluster_id, member_id, revision, raft_term } = header;
        etcdserverpb::ResponseHeader { cluster_id, member_id, revision, raft_term }
    }
}

/// A key as clients see it.
pub fn row((key, row): &(Key, Arc<KeyRow>), keys_only: bool) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: key.clone(),
        create_revision: row.create,
        mod_revision: row.modified,
        version: row.version,
        value: if keys_only { bytes::Bytes::new() } else { row.value.clone() },
        lease: row.lease.0,
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        let code = match failure.code {
            Code::Unknown => RpcCode::Unknown,
            Code::InvalidArgument => RpcCode::InvalidArgument,
            Code::DeadlineExceeded => RpcCode::DeadlineExceeded,
            Code::NotFound => RpcCode::NotFound,
            Code::ResourceExhausted => RpcCode::ResourceExhausted,
            Code::FailedPrecondition => RpcCode::FailedPrecondition,
            Code::OutOfRange => RpcCode::OutOfRange,
            Code::Unimplemented => RpcCode::Unimplemented,
            Code::Unavailable => RpcCode::Unavailable,
        };
        Status::new(code, failure.message)
    }
}

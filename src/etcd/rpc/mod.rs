//! The same calls over gRPC: messages of etcd's own encoding to calls, and back.

mod convert;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::model::limits;

use super::Front;
use super::error::Failure;
use super::kv;

/// Made from the definitions beside it; a test of the house compares.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod etcdserverpb {
    include!("generated/etcdserverpb.rs");
}

/// As above.
#[rustfmt::skip]
pub mod mvccpb {
    include!("generated/mvccpb.rs");
}

use etcdserverpb::kv_server::{Kv, KvServer};
use etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};

/// The KV service.
pub(super) struct KvService {
    front: Arc<Front>,
}

impl KvService {
    pub(super) fn server(front: Arc<Front>) -> KvServer<KvService> {
        // etcd's bound of a message lies above its bound of a request, and so it is answered by
        // the texts that clients know.
        KvServer::new(KvService { front }).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    fn answered<T>(&self, answer: Result<T, Failure>) -> Result<Response<T>, Status> {
        let answer = answer.map(Response::new).map_err(Status::from);
        let status = answer.as_ref().map_or_else(|status| status.code(), |_| tonic::Code::Ok);
        self.front.requests.count("grpc", http_of(status));
        answer
    }
}

/// As which HTTP status an answer counts: gRPC's own is 200 always.
fn http_of(code: tonic::Code) -> http::StatusCode {
    use http::StatusCode;
    use tonic::Code;
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let request = kv::RangeRequest::from(request.into_inner());
        let answer = kv::range(&self.front.cluster, &request).await;
        self.answered(answer.map(|(header, result)| RangeResponse {
            header: Some(header.into()),
            kvs: result.rows.iter().map(|row| convert::row(row, request.keys_only)).collect(),
            more: result.more,
            count: i64::try_from(result.count).unwrap_or(i64::MAX),
        }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = kv::PutRequest::from(request.into_inner());
        let limit = self.front.config.request_limit;
        let answer = kv::put(&self.front.cluster, &request, limit).await;
        self.answered(answer.map(|(header, prev)| PutResponse {
            header: Some(header.into()),
            prev_kv: prev.map(|row| convert::row(&(request.key.clone(), row), false)),
        }))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = kv::DeleteRangeRequest::from(request.into_inner());
        let answer = kv::delete_range(&self.front.cluster, &request).await;
        self.answered(answer.map(|(header, (deleted, prev))| DeleteRangeResponse {
            header: Some(header.into()),
            deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
            prev_kvs: prev.iter().map(|row| convert::row(row, false)).collect(),
        }))
    }
}

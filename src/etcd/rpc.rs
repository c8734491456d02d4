//! The calls over gRPC.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _};
use tonic::{Code as RpcCode, Request, Response, Status, Streaming};

use crate::model::limits;

use super::error::{Code, Failure};
use super::proto::cluster_server::{Cluster, ClusterServer};
use super::proto::election_server::{Election, ElectionServer};
use super::proto::kv_server::{Kv, KvServer};
use super::proto::lease_server::{Lease, LeaseServer};
use super::proto::lock_server::{Lock, LockServer};
use super::proto::watch_server::{Watch, WatchServer};
use super::proto::{
    CampaignRequest, CampaignResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest,
    DeleteRangeResponse, LeaderRequest, LeaderResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    LockRequest, LockResponse, MemberAddRequest, MemberAddResponse, MemberListRequest,
    MemberListResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
    MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse, ProclaimRequest,
    ProclaimResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, ResignRequest,
    ResignResponse, TxnRequest, TxnResponse, UnlockRequest, UnlockResponse, WatchRequest,
    WatchResponse,
};
use super::{Front, election, kv, lease, lock, members, watch};

type Answers<A> = BoxStream<'static, Result<A, Status>>;

/// What a client says on a stream.
fn asked<Q: Send + 'static>(
    request: Request<Streaming<Q>>,
) -> BoxStream<'static, Result<Q, Failure>> {
    let asked = request.into_inner();
    asked.map(|asked| asked.map_err(|status| Failure::cut(status.message()))).boxed()
}

fn answers<A: Send + 'static>(answers: BoxStream<'static, Result<A, Failure>>) -> Answers<A> {
    answers.map(|answer| answer.map_err(Status::from)).boxed()
}

/// All services; tonic has each told apart by its trait.
#[derive(Clone)]
pub(super) struct Services {
    front: Arc<Front>,
}

impl Services {
    pub(super) fn new(front: Arc<Front>) -> Services {
        Services { front }
    }

    // etcd's bound of a message lies above its bound of a request, and so it is answered by the
    // texts that clients know.
    pub(super) fn kv(&self) -> KvServer<Services> {
        KvServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn lease(&self) -> LeaseServer<Services> {
        LeaseServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn watch(&self) -> WatchServer<Services> {
        WatchServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn cluster(&self) -> ClusterServer<Services> {
        ClusterServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn lock(&self) -> LockServer<Services> {
        LockServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn election(&self) -> ElectionServer<Services> {
        ElectionServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    fn answered<T>(&self, answer: Result<T, Failure>) -> Result<Response<T>, Status> {
        let answer = answer.map(Response::new).map_err(Status::from);
        let status = answer.as_ref().map_or_else(|status| status.code(), |_| RpcCode::Ok);
        self.front.requests.count("grpc", http_of(status));
        answer
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

/// As which HTTP status an answer counts: gRPC's own is 200 always.
fn http_of(code: RpcCode) -> http::StatusCode {
    use http::StatusCode;
    match code {
        RpcCode::Ok => StatusCode::OK,
        RpcCode::InvalidArgument | RpcCode::FailedPrecondition | RpcCode::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        RpcCode::NotFound => StatusCode::NOT_FOUND,
        RpcCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[tonic::async_trait]
impl Kv for Services {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        self.answered(kv::range(&self.front, request.into_inner()).await)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.answered(kv::put(&self.front, request.into_inner()).await)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        self.answered(kv::delete_range(&self.front, request.into_inner()).await)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.answered(kv::txn(&self.front, request.into_inner()).await)
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        self.answered(kv::compact(&self.front, request.into_inner()).await)
    }
}

#[tonic::async_trait]
impl Lease for Services {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        self.answered(lease::grant(&self.front, request.into_inner()).await)
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.answered(lease::revoke(&self.front, request.into_inner()).await)
    }

    type LeaseKeepAliveStream = Answers<LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        self.answered(Ok(answers(lease::answers(self.front.clone(), asked(request)))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.answered(lease::time_to_live(&self.front, request.into_inner()).await)
    }

    async fn lease_leases(
        &self,
        _: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.answered(lease::leases(&self.front).await)
    }
}

#[tonic::async_trait]
impl Watch for Services {
    type WatchStream = Answers<WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.answered(Ok(answers(watch::answers(self.front.clone(), asked(request)))))
    }
}

/// Servers come by joining and go by `remora servers remove`: no list of URLs makes one.
fn by_joining<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(
        "servers join with a token (remora join-token) and leave by remora servers remove",
    ))
}

#[tonic::async_trait]
impl Cluster for Services {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        self.answered(members::list(&self.front, request.into_inner()).await)
    }

    async fn member_add(
        &self,
        _: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        by_joining()
    }

    async fn member_remove(
        &self,
        _: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        by_joining()
    }

    async fn member_update(
        &self,
        _: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        by_joining()
    }

    async fn member_promote(
        &self,
        _: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        by_joining()
    }
}

#[tonic::async_trait]
impl Lock for Services {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        self.answered(lock::lock(&self.front, request.into_inner()).await)
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        self.answered(lock::unlock(&self.front, request.into_inner()).await)
    }
}

#[tonic::async_trait]
impl Election for Services {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        self.answered(election::campaign(&self.front, request.into_inner()).await)
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        self.answered(election::proclaim(&self.front, request.into_inner()).await)
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        self.answered(election::leader(&self.front, request.into_inner()).await)
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        self.answered(election::resign(&self.front, request.into_inner()).await)
    }

    type ObserveStream = Answers<LeaderResponse>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let leaders = election::observe(self.front.clone(), request.into_inner());
        self.answered(Ok(answers(leaders)))
    }
}

//! The calls over gRPC.

mod health;
mod leader;
mod services;

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _};
use tonic::{Code as RpcCode, Request, Response, Status, Streaming};

use crate::access::Call;
use crate::model::limits;

use super::Front;
use super::error::{Code, Failure};
use super::gate::{Visit, credential_of_rpc};
use super::proto::auth_server::AuthServer;
use super::proto::cluster_server::ClusterServer;
use super::proto::election_server::ElectionServer;
use super::proto::healthpb::health_server::HealthServer;
use super::proto::kv_server::KvServer;
use super::proto::lease_server::LeaseServer;
use super::proto::lock_server::LockServer;
use super::proto::maintenance_server::MaintenanceServer;
use super::proto::watch_server::WatchServer;

type Answers<A> = BoxStream<'static, Result<A, Status>>;

/// What a client says on a stream.
type Asked<Q> = BoxStream<'static, Result<Q, Failure>>;

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

    pub(super) fn auth(&self) -> AuthServer<Services> {
        AuthServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn lock(&self) -> LockServer<Services> {
        LockServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn health(&self) -> HealthServer<Services> {
        HealthServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn maintenance(&self) -> MaintenanceServer<Services> {
        MaintenanceServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    pub(super) fn election(&self) -> ElectionServer<Services> {
        ElectionServer::new(self.clone()).max_decoding_message_size(limits::ETCD_MESSAGE)
    }

    /// One message asked, one answered.
    async fn unary<Q, A, F>(
        &self,
        call: Call,
        request: Request<Q>,
        handler: impl FnOnce(Visit, Q) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A, Failure>>,
    {
        let answer = match self.begin(call, &request).await {
            Ok(visit) => handler(visit, request.into_inner()).await,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }

    /// Any number asked, any number answered.
    async fn both_ways<Q: Send + 'static, A: Send + 'static>(
        &self,
        call: Call,
        request: Request<Streaming<Q>>,
        handler: impl FnOnce(Visit, Asked<Q>) -> BoxStream<'static, Result<A, Failure>>,
    ) -> Result<Response<Answers<A>>, Status> {
        let asked = |request: Request<Streaming<Q>>| -> Asked<Q> {
            let asked = request.into_inner();
            asked.map(|asked| asked.map_err(|status| Failure::cut(status.message()))).boxed()
        };
        let (visit, wants) = (self.begin(call, &request).await, leader::wanted(&request));
        self.answered(visit.map(|visit| {
            let front = visit.front.clone();
            answers(leader::kept(front, wants, handler(visit, asked(request))))
        }))
    }

    /// One message asked, any number answered.
    async fn told<Q, A: Send + 'static>(
        &self,
        call: Call,
        request: Request<Q>,
        handler: impl FnOnce(Visit, Q) -> BoxStream<'static, Result<A, Failure>>,
    ) -> Result<Response<Answers<A>>, Status> {
        let (visit, wants) = (self.begin(call, &request).await, leader::wanted(&request));
        self.answered(visit.map(|visit| {
            let front = visit.front.clone();
            answers(leader::kept(front, wants, handler(visit, request.into_inner())))
        }))
    }

    async fn begin<Q>(&self, call: Call, request: &Request<Q>) -> Result<Visit, Failure> {
        if leader::wanted(request) {
            leader::there(&self.front)?;
        }
        let credential = credential_of_rpc(request.metadata().as_ref(), request.extensions());
        Visit::begin(&self.front, call, credential).await
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
            Code::PermissionDenied => RpcCode::PermissionDenied,
            Code::Unauthenticated => RpcCode::Unauthenticated,
            Code::ResourceExhausted => RpcCode::ResourceExhausted,
            Code::FailedPrecondition => RpcCode::FailedPrecondition,
            Code::OutOfRange => RpcCode::OutOfRange,
            Code::Unimplemented => RpcCode::Unimplemented,
            Code::Unavailable => RpcCode::Unavailable,
            Code::DataLoss => RpcCode::DataLoss,
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
        RpcCode::PermissionDenied => StatusCode::FORBIDDEN,
        RpcCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        RpcCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

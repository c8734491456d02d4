//! The calls over gRPC.

mod health;
mod leader;
mod services;
mod switch;

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _};
use tonic::{Code as RpcCode, Request, Response, Status, Streaming};

use crate::access::Call;

use super::Front;
use super::error::{Code, Failure};
use super::gate::{Visit, credential_of_rpc};

pub use switch::{Rpc, Switch};

pub(super) use switch::SERVICES;

type Answers<A> = BoxStream<'static, Result<A, Status>>;

/// What a client says on a stream.
type Asked<Q> = BoxStream<'static, Result<Q, Failure>>;

fn answers<A: Send + 'static>(answers: BoxStream<'static, Result<A, Failure>>) -> Answers<A> {
    answers.map(|answer| answer.map_err(Status::from)).boxed()
}

/// All services; tonic has each told apart by its trait.
pub(super) struct Services {
    front: Arc<Front>,
}

impl Services {
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

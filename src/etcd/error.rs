//! etcd's errors: the gRPC code, the HTTP status it maps to, and the text that clients match on.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::cluster::{ProposeError, ReadError};
use crate::state::{RangeError, Refusal};

/// gRPC's status codes, as far as etcd uses them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Unavailable = 14,
}

impl Code {
    pub fn http(self) -> StatusCode {
        match self {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                StatusCode::BAD_REQUEST
            }
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidArgument, message)
    }

    /// The client's side of a stream broke off.
    pub fn cut(why: &str) -> Failure {
        Failure::new(Code::Unavailable, why)
    }

    pub fn too_large() -> Failure {
        Failure::invalid("etcdserver: request is too large")
    }

    /// The last line of a stream that the gateway cannot go on with.
    pub fn line(&self) -> Bytes {
        #[derive(Serialize)]
        struct Line<'a> {
            error: Shape<'a>,
        }
        #[derive(Serialize)]
        struct Shape<'a> {
            code: u8,
            message: &'a str,
        }
        let error = Shape { code: self.code as u8, message: &self.message };
        let mut line = serde_json::to_vec(&Line { error }).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }

    /// The gateway's form. `error` is what gateways before 3.5 call the message.
    pub fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Shape<'a> {
            error: &'a str,
            code: u8,
            message: &'a str,
        }
        let shape = Shape { error: &self.message, code: self.code as u8, message: &self.message };
        let body = serde_json::to_vec(&shape).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code.http();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        Failure::new(
            Code::Unavailable,
            match error {
                ReadError::NoLeader | ReadError::NoQuorum => "etcdserver: request timed out",
                ReadError::NotSynced | ReadError::Outdated(_) => "etcdserver: no leader",
                ReadError::Stopped(_) => "etcdserver: server stopped",
            },
        )
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Failure {
        match error {
            ProposeError::NoLeader => {
                Failure::new(Code::DeadlineExceeded, "context deadline exceeded")
            }
            // A client may try these again elsewhere: nothing was appended.
            ProposeError::NotSynced | ProposeError::NoQuorum | ProposeError::Outdated(_) => {
                Failure::new(Code::Unavailable, "etcdserver: no leader")
            }
            ProposeError::Busy(_) => {
                Failure::new(Code::ResourceExhausted, "etcdserver: too many requests")
            }
            ProposeError::TooLarge { .. } => Failure::too_large(),
            ProposeError::NoSpace => {
                Failure::new(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
            }
            // etcd's word for "it may have happened".
            ProposeError::Unknown(_) => {
                Failure::new(Code::Unavailable, "etcdserver: request timed out")
            }
            ProposeError::Stopped(_) => {
                Failure::new(Code::Unavailable, "etcdserver: server stopped")
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::EmptyKey => Failure::invalid("etcdserver: key is not provided"),
            Refusal::KeyNotFound => Failure::invalid("etcdserver: key not found"),
            Refusal::KeyTooLong { .. } => Failure::too_large(),
            Refusal::LeaseNotFound(_) => {
                Failure::new(Code::NotFound, "etcdserver: requested lease not found")
            }
            Refusal::LeaseExists(_) => {
                Failure::new(Code::FailedPrecondition, "etcdserver: lease already exists")
            }
            Refusal::Compacted { .. } => Failure::new(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            Refusal::FutureRevision { .. } => Failure::new(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            // An edge knows only the present: any server can answer.
            Refusal::NoHistory => Failure::new(Code::FailedPrecondition, "etcdserver: not capable"),
            other => Failure::new(Code::Unknown, other.to_string()),
        }
    }
}

impl From<RangeError> for Failure {
    fn from(error: RangeError) -> Failure {
        Refusal::from(error).into()
    }
}

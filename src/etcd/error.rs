//! etcd's errors: the gRPC code, the HTTP status it maps to, and the text that clients match on.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::access::{AccountError, Denied};
use crate::cluster::{LoginError, ProposeError, ReadError, SurveyError};
use crate::state::{RangeError, Refusal};

/// gRPC's status codes, as far as etcd uses them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    pub fn http(self) -> StatusCode {
        match self {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                StatusCode::BAD_REQUEST
            }
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
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

    pub fn stopped() -> Failure {
        Failure::new(Code::Unavailable, "etcdserver: server stopped")
    }

    pub fn no_leader() -> Failure {
        Failure::new(Code::Unavailable, "etcdserver: no leader")
    }

    pub fn no_space() -> Failure {
        Failure::new(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
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
        self.with(Body::from(body))
    }

    /// The gateway's form where a stream of answers was asked for, and there is none.
    pub fn into_stream(self) -> Response<Body> {
        let line = stream::iter([Ok::<_, Infallible>(self.line())]);
        self.with(Body::from_stream(line))
    }

    fn with(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.code.http();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.code == Code::Unauthenticated
            && let Ok(message) = HeaderValue::from_str(&self.message)
        {
            headers.insert(WWW_AUTHENTICATE, message);
        }
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

impl From<SurveyError> for Failure {
    fn from(error: SurveyError) -> Failure {
        match error {
            SurveyError::Read(error) => error.into(),
            SurveyError::Refused(refusal) => refusal.into(),
            SurveyError::Broken(why) => {
                Failure::new(Code::Unavailable, format!("etcdserver: it broke off: {why}"))
            }
        }
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
                Failure::no_leader()
            }
            ProposeError::Busy(_) => {
                Failure::new(Code::ResourceExhausted, "etcdserver: too many requests")
            }
            ProposeError::TooLarge { .. } => Failure::too_large(),
            ProposeError::NoSpace => Failure::no_space(),
            // etcd's word for "it may have happened".
            ProposeError::Unknown(_) => {
                Failure::new(Code::Unavailable, "etcdserver: request timed out")
            }
            ProposeError::Stopped(_) => Failure::stopped(),
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
            Refusal::NoSpace => Failure::no_space(),
            Refusal::Corrupt => Failure::new(Code::DataLoss, "etcdserver: corrupt cluster"),
            // An edge knows only the present: any server can answer.
            Refusal::Denied(denied) => denied.into(),
            Refusal::Account(error) => error.into(),
            Refusal::NoHistory => Failure::new(Code::FailedPrecondition, "etcdserver: not capable"),
            other => Failure::new(Code::Unknown, other.to_string()),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        match denied {
            Denied::Nobody => Failure::invalid("etcdserver: user name is empty"),
            Denied::Token => Failure::new(Code::Unauthenticated, "etcdserver: invalid auth token"),
            Denied::Permission | Denied::Lacks(_) => {
                Failure::new(Code::PermissionDenied, "etcdserver: permission denied")
            }
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Failure {
        let text = match error {
            AccountError::UserEmpty => return Denied::Nobody.into(),
            AccountError::RoleEmpty => return Failure::invalid("etcdserver: role name is empty"),
            AccountError::Invalid => {
                return Failure::invalid("etcdserver: invalid auth management");
            }
            AccountError::NameTooLong { .. } => return Failure::too_large(),
            AccountError::TooMany(_) => {
                let text = format!("etcdserver: too many requests: {error}");
                return Failure::new(Code::ResourceExhausted, text);
            }
            AccountError::NoRoot => "root user does not exist",
            AccountError::RootLacksRole => "root user does not have root role",
            AccountError::UserExists => "user name already exists",
            AccountError::NoUser => "user name not found",
            AccountError::RoleExists => "role name already exists",
            AccountError::NoRole => "role name not found",
            AccountError::RoleNotGranted => "role is not granted to the user",
            AccountError::PermissionNotGranted => "permission is not granted to the role",
        };
        Failure::new(Code::FailedPrecondition, format!("etcdserver: {text}"))
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Failure {
        match error {
            LoginError::NotEnabled => {
                Failure::new(Code::FailedPrecondition, "etcdserver: authentication is not enabled")
            }
            LoginError::Wrong => {
                Failure::invalid("etcdserver: authentication failed, invalid user ID or password")
            }
            // Nobody has given this one a code.
            LoginError::NoPassword => Failure::new(
                Code::Unknown,
                "auth: authentication failed, password was given for no password user",
            ),
            LoginError::Busy => {
                Failure::new(Code::ResourceExhausted, "etcdserver: too many requests")
            }
            LoginError::TooLong { .. } => Failure::too_large(),
            LoginError::NoLeader => ReadError::NoLeader.into(),
            LoginError::Failed(_) => Failure::new(Code::Unknown, error.to_string()),
        }
    }
}

impl From<RangeError> for Failure {
    fn from(error: RangeError) -> Failure {
        Refusal::from(error).into()
    }
}

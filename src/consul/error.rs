//! Turns everything that can go wrong into Consul's status and its text.

use std::borrow::Cow;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};

use crate::access::{AclError, Denied};
use crate::cluster::{ProposeError, ReadError};
use crate::net::http::BodyError;
use crate::presence::PresenceError;
use crate::state::Refusal;

use super::answer;

/// A request that is answered with a status and a bare text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {text}")]
pub struct Failure {
    pub status: StatusCode,
    pub text: Cow<'static, str>,
    /// Reads of the catalog carry index headers even when they fail.
    pub with_index: bool,
}

impl Failure {
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { status, text: text.into(), with_index: false }
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, text)
    }

    pub fn internal(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// For a body that the option of that name in Consul's manual bounds.
    pub fn of_body(error: BodyError, option: &str) -> Failure {
        match error {
            BodyError::TooLarge { len, max } => Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "Request body({len} bytes) too large, max size: {max} bytes. \
                     See https://www.consul.io/docs/agent/options.html#{option}."
                ),
            ),
            other => other.into(),
        }
    }

    /// Marks a failed read of the catalog.
    pub fn with_index(mut self) -> Failure {
        self.with_index = self.status == StatusCode::INTERNAL_SERVER_ERROR;
        self
    }

    /// Marks a read of what can be waited for that was denied.
    pub fn of_denied_read(mut self) -> Failure {
        self.with_index |= self.status == StatusCode::FORBIDDEN;
        self
    }

    pub fn into_response(self) -> Response<Body> {
        let says = !self.text.is_empty();
        let mut response = Response::new(match self.text {
            Cow::Borrowed(text) => Body::from(text),
            Cow::Owned(text) => Body::from(text),
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        answer::add_vary(headers);
        if self.with_index {
            answer::add_failed_read(headers);
        }
        if says {
            headers.insert(http::header::CONTENT_TYPE, answer::TEXT);
        }
        response
    }
}

/// The text that every client knows.
pub const NO_LEADER: &str = "No cluster leader";
/// The same of an agent that never had a state, with the reason: clients look for the words above.
const NOT_SYNCED: &str = "No cluster leader: this agent has not synced with the cluster yet";

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::NoLeader | ReadError::NoQuorum => Failure::internal(NO_LEADER),
            ReadError::NotSynced => Failure::internal(NOT_SYNCED),
            ReadError::Stopped(_) | ReadError::Outdated(_) => Failure::internal(error.to_string()),
        }
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Failure {
        match error {
            ProposeError::NoLeader | ProposeError::NoQuorum => Failure::internal(NO_LEADER),
            ProposeError::NotSynced => Failure::internal(NOT_SYNCED),
            ProposeError::Busy(_) => Failure::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            ProposeError::TooLarge { .. } => {
                Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            ProposeError::Unknown(_)
            | ProposeError::Stopped(_)
            | ProposeError::NoSpace
            | ProposeError::Outdated(_) => Failure::internal(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::EmptyKey => Failure::bad("Missing key name"),
            Refusal::KeyTooLong { .. } => Failure::bad(refusal.to_string()),
            Refusal::NoInstanceForCheck { id, check, .. } => {
                Failure::internal(format!("Unknown service ID '{id}' for check ID '{check}'"))
            }
            Refusal::SessionNotFound(id) => Failure::internal(format!("invalid session \"{id}\"")),
            Refusal::NoCheck { id, .. } => {
                Failure::internal(format!("Missing check '{id}' registration"))
            }
            Refusal::CheckIsCritical { id, .. } => {
                Failure::internal(format!("Check '{id}' is in critical state"))
            }
            Refusal::Denied(denied) => denied.into(),
            Refusal::Acl(error @ AclError::Bootstrapped(_)) => {
                Failure::new(StatusCode::FORBIDDEN, error.to_string())
            }
            Refusal::Acl(AclError::Disabled) => {
                Failure::new(StatusCode::UNAUTHORIZED, AclError::Disabled.to_string())
            }
            other => Failure::internal(other.to_string()),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        let text: Cow<'static, str> = match denied {
            Denied::Nobody | Denied::Permission => "Permission denied".into(),
            Denied::Token => "ACL not found".into(),
            Denied::Lacks(lack) => format!("Permission denied: {lack}").into(),
        };
        Failure::new(StatusCode::FORBIDDEN, text)
    }
}

impl From<PresenceError> for Failure {
    fn from(error: PresenceError) -> Failure {
        let missing = |text: String| Failure::new(StatusCode::NOT_FOUND, text);
        match error {
            PresenceError::UnknownService(id) => missing(format!(
                "Unknown service ID {id:?}. Ensure that the service ID is passed, not the \
                 service name."
            )),
            PresenceError::UnknownCheck(id) => missing(format!(
                "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
            )),
            PresenceError::NotTtl(id) => {
                Failure::internal(format!("CheckID {id:?} does not have associated TTL"))
            }
            PresenceError::Cluster(error) => error.into(),
            PresenceError::Refused(refusal) => refusal.into(),
            PresenceError::NoPrograms(_) => Failure::internal(
                "Scripts are disabled on this agent from remote calls; to enable, configure \
                 'enable_script_checks' to true",
            ),
            PresenceError::Reserved(_)
            | PresenceError::Limit { .. }
            | PresenceError::Invalid { .. } => Failure::bad(error.to_string()),
            PresenceError::Probes(_) | PresenceError::Stopped => {
                Failure::internal(error.to_string())
            }
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Failure {
        match error {
            BodyError::TooLarge { len, max } => Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("Request body({len} bytes) too large, max size: {max} bytes."),
            ),
            BodyError::Slow(_) => Failure::new(StatusCode::REQUEST_TIMEOUT, error.to_string()),
            BodyError::Broken(_) => Failure::bad(error.to_string()),
        }
    }
}

/// Plain text of an answer that is not JSON and no error of a handler.
pub fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}

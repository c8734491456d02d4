//! `/admin/`: what operators do, over JSON. Answered by servers only.

mod servers;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::{OperatorError, ProposeError};

use super::{Parts, TEXT, answer};

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/admin/join-token", post(tokens::create))
        .route("/admin/join-tokens", get(tokens::list))
        .route("/admin/join-tokens/{id}", delete(tokens::retire))
        .route("/admin/servers", get(servers::list))
        .route("/admin/servers/transfer-leader", post(servers::transfer_leader))
        .route("/admin/servers/set", post(servers::set))
        .route("/admin/servers/{id}", delete(servers::remove))
        .route("/admin/revoke/{node}", post(servers::revoke))
}

/// Why an operator is told no.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Failed(String),
}

impl Denial {
    fn status(&self) -> StatusCode {
        match self {
            Denial::Operator(OperatorError::NotServer(_)) => StatusCode::MISDIRECTED_REQUEST,
            Denial::Operator(OperatorError::NoAgent(_)) | Denial::NotFound(_) => {
                StatusCode::NOT_FOUND
            }
            Denial::Operator(OperatorError::Refused(_)) | Denial::Conflict(_) => {
                StatusCode::CONFLICT
            }
            Denial::Operator(OperatorError::Propose(
                ProposeError::NoLeader | ProposeError::NotSynced | ProposeError::Busy(_),
            )) => StatusCode::SERVICE_UNAVAILABLE,
            Denial::Request(_) => StatusCode::BAD_REQUEST,
            Denial::Operator(_) | Denial::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// JSON, or one line that says why not. Neither is kept by anybody on the way.
fn respond<T: Serialize>(parts: &Parts, done: Result<T, Denial>) -> Response<Body> {
    let encoded = done.and_then(|value| {
        serde_json::to_vec(&value).map_err(|error| Denial::Failed(error.to_string()))
    });
    let mut response = match encoded {
        Ok(body) => {
            answer(parts, StatusCode::OK, HeaderValue::from_static("application/json"), body)
        }
        Err(denial) => answer(parts, denial.status(), TEXT, format!("{denial}\n")),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body of JSON; none at all is an empty object.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Denial> {
    let body = if body.is_empty() { &b"{}"[..] } else { body };
    serde_json::from_slice(body).map_err(|error| Denial::Request(format!("the body: {error}")))
}

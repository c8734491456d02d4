//! `/admin/`: what operators do, over JSON. Answered by servers only.

mod servers;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::{Denied, Need};
use crate::cluster::{Consistency, Credential, OperatorError, ProposeError, ReadError};
use crate::net::http::token;

use super::{Parts, TEXT, answer, snapshot};

/// All of them behind one gate, so that none is without.
pub(super) fn routes(parts: &Arc<Parts>) -> Router<Arc<Parts>> {
    Router::new()
        .route(
            "/admin/snapshot",
            get(snapshot::save).put(snapshot::restore).layer(snapshot::room()),
        )
        .route("/admin/join-token", post(tokens::create))
        .route("/admin/join-tokens", get(tokens::list))
        .route("/admin/join-tokens/{id}", delete(tokens::retire))
        .route("/admin/servers", get(servers::list))
        .route("/admin/servers/transfer-leader", post(servers::transfer_leader))
        .route("/admin/servers/set", post(servers::set))
        .route("/admin/servers/{id}", delete(servers::remove))
        .route("/admin/revoke/{node}", post(servers::revoke))
        .route_layer(from_fn_with_state(parts.clone(), gate))
}

/// `?token=`, as Consul's clients have it.
#[derive(Deserialize)]
struct Shown {
    token: Option<String>,
}

/// While accounts count, operators are who has the role root.
async fn gate(
    State(parts): State<Arc<Parts>>,
    Query(shown): Query<Shown>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let shown = shown.token.as_deref().filter(|token| !token.is_empty());
    let shown = shown.or_else(|| token(request.headers()));
    let credential = shown.map_or(Credential::Nothing, |token| Credential::Token(token.into()));
    match judge(&parts, &credential).await {
        Ok(()) => next.run(request).await,
        Err(denial) => respond::<()>(&parts, Err(denial)),
    }
}

async fn judge(parts: &Parts, credential: &Credential) -> Result<(), Denial> {
    // What has not been heard of yet may forbid it.
    let state = parts.cluster.read(Consistency::Local).await?;
    let asker = parts.cluster.asker(credential).await?;
    Ok(state.judge(&asker.caller, Need::Root)?)
}

/// Why an operator is told no.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error("{}", denied(.0))]
    Access(#[from] Denied),
    #[error(transparent)]
    Read(#[from] ReadError),
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
            Denial::Access(_) => StatusCode::FORBIDDEN,
            Denial::Read(_) => StatusCode::SERVICE_UNAVAILABLE,
            Denial::Request(_) => StatusCode::BAD_REQUEST,
            Denial::Operator(_) | Denial::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Consul's words, which its clients know.
fn denied(denied: &Denied) -> &'static str {
    match denied {
        Denied::Nobody | Denied::Permission => "Permission denied",
        Denied::Token => "ACL not found",
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

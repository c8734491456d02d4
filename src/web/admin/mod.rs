//! `/admin/`: what operators do, over JSON. Answered by servers only.

mod acl;
mod servers;
mod tokens;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shown::Shown;
use super::{Parts, TEXT, answer, snapshot};
use crate::access::{Denied, Need};
use crate::cluster::{Consistency, Credential, OperatorError, ProposeError, ReadError};

/// All of them behind one gate, so that none is without.
pub(super) fn routes(parts: &Arc<Parts>) -> Router<Arc<Parts>> {
    let add = |router: Router<Arc<Parts>>, (path, page)| router.route(path, page);
    let router = pages().into_iter().fold(Router::new(), add);
    router.route_layer(from_fn_with_state(parts.clone(), gate))
}

fn pages() -> [(&'static str, MethodRouter<Arc<Parts>>); 10] {
    let snapshot = get(snapshot::save).put(snapshot::restore).layer(snapshot::room());
    [
        ("/admin/snapshot", snapshot),
        ("/admin/join-token", post(tokens::create)),
        ("/admin/join-tokens", get(tokens::list)),
        ("/admin/join-tokens/{id}", delete(tokens::retire)),
        ("/admin/servers", get(servers::list)),
        ("/admin/servers/transfer-leader", post(servers::transfer_leader)),
        ("/admin/servers/set", post(servers::set)),
        ("/admin/servers/{id}", delete(servers::remove)),
        ("/admin/revoke/{node}", post(servers::revoke)),
        ("/admin/acl", get(acl::show).post(acl::switch)),
    ]
}

/// While users or tokens count, operators are who has the role root or a token for everything.
async fn gate(
    State(parts): State<Arc<Parts>>,
    Query(shown): Query<Shown>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let mut response = match judge(&parts, &shown.credential(request.headers())).await {
        Ok(()) => next.run(request).await,
        Err(denial) => respond::<()>(&parts, Err(denial)),
    };
    // Nobody on the way keeps any of it.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
fn denied(denied: &Denied) -> String {
    match denied {
        Denied::Nobody | Denied::Permission => "Permission denied".to_owned(),
        Denied::Token => "ACL not found".to_owned(),
        Denied::Lacks(lack) => format!("Permission denied: {lack}"),
    }
}

/// JSON, or one line that says why not.
fn respond<T: Serialize>(parts: &Parts, done: Result<T, Denial>) -> Response<Body> {
    let encoded = done.and_then(|value| {
        serde_json::to_vec(&value).map_err(|error| Denial::Failed(error.to_string()))
    });
    match encoded {
        Ok(body) => {
            answer(parts, StatusCode::OK, HeaderValue::from_static("application/json"), body)
        }
        Err(denial) => answer(parts, denial.status(), TEXT, format!("{denial}\n")),
    }
}

/// A body of JSON; none at all is an empty object.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Denial> {
    let body = if body.is_empty() { &b"{}"[..] } else { body };
    serde_json::from_slice(body).map_err(|error| Denial::Request(format!("the body: {error}")))
}

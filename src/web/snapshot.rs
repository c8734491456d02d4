//! `/admin/snapshot`: a backup of everything to take away, or to put in the place of everything.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cluster::{Consistency, ProposeError, RestoreError, Restored};
use crate::model::limits;
use crate::net::http::{BodyError, pieces, written};

use super::{Parts, TEXT, answer};

/// Snapshots that one agent gives or takes at the same time.
const AT_ONCE: usize = 2;
/// What is handed to the connection at once.
const PIECE: usize = 256 * 1024;

/// Bounds how many are under way.
pub fn room() -> Extension<Arc<Semaphore>> {
    Extension(Arc::new(Semaphore::new(AT_ONCE)))
}

type Room = Extension<Arc<Semaphore>>;

/// Everything that was acknowledged before the request, streamed.
pub async fn save(State(parts): State<Arc<Parts>>, Extension(room): Room) -> Response<Body> {
    let permit = match admit(&parts, room) {
        Ok(permit) => permit,
        Err(refused) => return *refused,
    };
    let state = match parts.cluster.read(Consistency::Linearizable).await {
        Ok(state) => state,
        Err(error) => return say(&parts, StatusCode::SERVICE_UNAVAILABLE, &error),
    };
    let pieces = written(PIECE, move |out| {
        let _permit = permit;
        state.back_up(out)
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    answer(&parts, StatusCode::OK, kind, Body::from_stream(pieces.map(Ok::<_, Infallible>)))
}

/// Restores what the body holds: all of it or, whatever goes wrong, nothing.
pub async fn restore(
    State(parts): State<Arc<Parts>>,
    Extension(room): Room,
    request: Request<Body>,
) -> Response<Body> {
    let _permit = match admit(&parts, room) {
        Ok(permit) => permit,
        Err(refused) => return *refused,
    };
    let pieces = pieces(request.into_body(), limits::HTTP_BODY_TIMEOUT);
    match parts.cluster.restore(pieces).await {
        Ok(Ok(Restored { revision, keys })) => {
            let body = serde_json::json!({ "revision": revision, "keys": keys });
            let kind = HeaderValue::from_static("application/json");
            answer(&parts, StatusCode::OK, kind, body.to_string())
        }
        Ok(Err(error)) => failed(&parts, &error),
        Err(error @ BodyError::Slow(_)) => say(&parts, StatusCode::REQUEST_TIMEOUT, &error),
        Err(error) => say(&parts, StatusCode::BAD_REQUEST, &error),
    }
}

fn failed(parts: &Parts, error: &RestoreError) -> Response<Body> {
    let status = match error {
        RestoreError::Backup(_) | RestoreError::Refused(_) => StatusCode::BAD_REQUEST,
        RestoreError::Staging(ProposeError::NoLeader) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    say(parts, status, error)
}

fn say(parts: &Parts, status: StatusCode, what: &dyn std::fmt::Display) -> Response<Body> {
    answer(parts, status, TEXT, format!("{what}\n"))
}

/// Operators ask servers, which have all of it, and only so many may be under way.
fn admit(parts: &Parts, room: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Box<Response<Body>>> {
    if let Err(error) = parts.cluster.is_for_operators() {
        return Err(Box::new(say(parts, StatusCode::MISDIRECTED_REQUEST, &error)));
    }
    room.try_acquire_owned().map_err(|_| {
        let text = "too many snapshots are under way on this agent";
        Box::new(say(parts, StatusCode::TOO_MANY_REQUESTS, &text))
    })
}

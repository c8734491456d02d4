//! Join tokens: made, listed, retired.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};

use crate::cluster::Consistency;
use crate::identity::JoinToken;
use crate::model::{Role, Stamp, TokenId};
use crate::state::{Command, TokenDef, TokenPut, TokenRow};
use crate::web::Parts;

use super::{Denial, parse, respond};

/// A server's token is for a deed that is at hand.
const SERVER_TTL: Duration = Duration::from_secs(24 * 3600);
const SERVER_USES: u64 = 1;
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default = "edge")]
    role: Role,
    /// As `24h`. None: that of the role.
    ttl: Option<String>,
    uses: Option<u64>,
}

fn edge() -> Role {
    Role::Edge
}

#[derive(Serialize)]
struct Made {
    id: String,
    role: &'static str,
    /// Shown here and nowhere else.
    token: String,
    expires_in_s: Option<u64>,
    uses: Option<u64>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    role: &'static str,
    /// In cluster time, which stands still without a leader. 0: it has expired.
    expires_in_s: Option<u128>,
    uses_left: Option<u64>,
    /// Made before the cluster was founded.
    offline: bool,
    /// The cluster was founded with it.
    founding: bool,
}

#[derive(Serialize)]
struct Retired {
    retired: String,
    /// Tokens made offline are worth nothing any more.
    founding_key_ended: bool,
}

pub(super) async fn create(State(parts): State<Arc<Parts>>, body: Bytes) -> Response<Body> {
    let made = async { make(&parts, parse(&body)?).await };
    respond(&parts, made.await)
}

async fn make(parts: &Parts, wish: Wish) -> Result<Made, Denial> {
    let cluster = &parts.cluster;
    cluster.is_for_operators()?;
    let (ttl, uses) = terms(&wish)?;
    let root = cluster.snapshot().identity().root.ok_or_else(|| {
        Denial::Conflict("this cluster has no certificates, so nobody needs a token".to_owned())
    })?;
    let failed = |error: crate::identity::IdentityError| Denial::Failed(error.to_string());
    let token = JoinToken::generate(wish.role, root).map_err(failed)?;
    let public = token.key().map_err(failed)?.public().to_vec().into();
    let def = TokenDef { id: token.id(), role: wish.role, public };
    cluster.decide(Command::TokenPut(TokenPut { def, ttl, uses })).await?;
    tracing::info!(id = %token.id(), role = wish.role.as_str(), "a join token was made");
    Ok(Made {
        id: token.id().to_string(),
        role: wish.role.as_str(),
        token: token.reveal().to_string(),
        expires_in_s: ttl.map(|ttl| ttl.as_secs()),
        uses,
    })
}

/// How long it lasts and how often it may be used.
fn terms(wish: &Wish) -> Result<(Option<Duration>, Option<u64>), Denial> {
    let is_server = wish.role == Role::Server;
    let ttl = match &wish.ttl {
        None => is_server.then_some(SERVER_TTL),
        Some(text) => Some(humantime::parse_duration(text).map_err(|error| {
            Denial::Request(format!("ttl: {text:?} is no duration, as 24h is: {error}"))
        })?),
    };
    if ttl.is_some_and(|ttl| ttl < Duration::from_secs(1) || ttl > LONGEST) {
        return Err(Denial::Request("ttl: at least 1s and at most ten years".to_owned()));
    }
    if wish.uses == Some(0) {
        return Err(Denial::Request("uses: a token that lets nobody in is none".to_owned()));
    }
    Ok((ttl, wish.uses.or(is_server.then_some(SERVER_USES))))
}

pub(super) async fn list(State(parts): State<Arc<Parts>>) -> Response<Body> {
    respond(&parts, listed(&parts).await)
}

async fn listed(parts: &Parts) -> Result<Vec<Listed>, Denial> {
    parts.cluster.is_for_operators()?;
    let read = parts.cluster.read(Consistency::Linearizable).await;
    let state = read.map_err(|error| Denial::Failed(error.to_string()))?;
    let founding = state.identity().founding;
    let now = parts.cluster.now();
    Ok(state.tokens().map(|row| describe(row, now, founding)).collect())
}

fn describe(row: &TokenRow, now: Stamp, founding: Option<TokenId>) -> Listed {
    Listed {
        id: row.def.id.to_string(),
        role: row.def.role.as_str(),
        expires_in_s: row.ends.map(|ends| ends.since(now).as_millis().div_ceil(1000)),
        uses_left: row.left,
        offline: row.offline,
        founding: founding == Some(row.def.id),
    }
}

pub(super) async fn retire(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
) -> Response<Body> {
    respond(&parts, retired(&parts, &id).await)
}

async fn retired(parts: &Parts, text: &str) -> Result<Retired, Denial> {
    let cluster = &parts.cluster;
    cluster.is_for_operators()?;
    // Never repeated: it may be the whole token.
    let id = TokenId::parse(text).ok_or_else(|| {
        Denial::Request("a token's id has 16 hex digits: part 4 of the token".to_owned())
    })?;
    let state = cluster.snapshot();
    if state.token(id).is_none() {
        return Err(Denial::NotFound(format!("there is no join token {id}")));
    }
    let founding_key_ended = state.identity().founding == Some(id);
    cluster.decide(Command::TokenRetire(id)).await?;
    tracing::info!(%id, founding_key_ended, "a join token was retired");
    Ok(Retired { retired: id.to_string(), founding_key_ended })
}

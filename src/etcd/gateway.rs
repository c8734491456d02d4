//! The JSON gateway: `POST /v3/…` to a call, its answer to JSON.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::access::Call;
use crate::model::limits;
use crate::net::http::{BodyError, collect};

use super::address::{Place, place};
use super::error::{Code, Failure};
use super::gate::{Visit, credential_of_gateway};
use super::{Front, auth, deadline, election, json, kv, lease, lock, maintenance, members, watch};

/// Base64 of the largest gRPC message, with room for the names around it.
const BODY_MAX: usize = 4 * 1024 * 1024;

type Answers<A> = BoxStream<'static, Result<A, Failure>>;

const GRPC_CONTENT_TYPE: HeaderName = HeaderName::from_static("grpc-metadata-content-type");

pub async fn answer(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let response = match serve(&front, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    front.requests.count("etcd", response.status());
    response
}

async fn serve(front: &Arc<Front>, request: Request<Body>) -> Result<Response<Body>, Failure> {
    if request.method() == Method::OPTIONS {
        return Ok(Response::new(Body::empty()));
    }
    let call = match place(request.uri().path()) {
        Place::Below(path) => at(&path),
        Place::Elsewhere(path) => return Ok(moved(&path, &request)),
        Place::Unknown => None,
    };
    let Some(call) = call else {
        return Err(Failure::new(Code::NotFound, "Not Found"));
    };
    if request.method() != Method::POST {
        return Err(Failure::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let deadline = deadline::of(request.headers(), Instant::now())?;
    let wants = request.headers().get("grpc-metadata-hasleader");
    if wants.is_some_and(|wants| wants == "true") && front.cluster.standing().leader.is_none() {
        return Err(Failure::no_leader());
    }
    let credential = credential_of_gateway(request.headers());
    let body = collect(request.into_body(), BODY_MAX, limits::HTTP_BODY_TIMEOUT).await;
    let body = body.map_err(unread)?;
    let answer = async {
        match Visit::begin(front, call, credential).await {
            Ok(visit) => hand(visit, call, &body).await,
            Err(failure) if is_stream(call) => Ok(failure.into_stream()),
            Err(failure) => Err(failure),
        }
    };
    deadline::within(deadline, answer).await
}

/// The calls and their places, in the order of these. Three calls of leases have an older one, too.
pub(super) const PLACES: [(&str, Call); 51] = [
    ("auth/authenticate", Call::Authenticate),
    ("auth/disable", Call::AuthDisable),
    ("auth/enable", Call::AuthEnable),
    ("auth/role/add", Call::RoleAdd),
    ("auth/role/delete", Call::RoleDelete),
    ("auth/role/get", Call::RoleGet),
    ("auth/role/grant", Call::RoleGrantPermission),
    ("auth/role/list", Call::RoleList),
    ("auth/role/revoke", Call::RoleRevokePermission),
    ("auth/status", Call::AuthStatus),
    ("auth/user/add", Call::UserAdd),
    ("auth/user/changepw", Call::UserChangePassword),
    ("auth/user/delete", Call::UserDelete),
    ("auth/user/get", Call::UserGet),
    ("auth/user/grant", Call::UserGrantRole),
    ("auth/user/list", Call::UserList),
    ("auth/user/revoke", Call::UserRevokeRole),
    ("cluster/member/add", Call::MemberAdd),
    ("cluster/member/list", Call::MemberList),
    ("cluster/member/promote", Call::MemberPromote),
    ("cluster/member/remove", Call::MemberRemove),
    ("cluster/member/update", Call::MemberUpdate),
    ("election/campaign", Call::Campaign),
    ("election/leader", Call::Leader),
    ("election/observe", Call::Observe),
    ("election/proclaim", Call::Proclaim),
    ("election/resign", Call::Resign),
    ("kv/compaction", Call::Compact),
    ("kv/deleterange", Call::DeleteRange),
    ("kv/lease/leases", Call::LeaseLeases),
    ("kv/lease/revoke", Call::LeaseRevoke),
    ("kv/lease/timetolive", Call::LeaseTimeToLive),
    ("kv/put", Call::Put),
    ("kv/range", Call::Range),
    ("kv/txn", Call::Txn),
    ("lease/grant", Call::LeaseGrant),
    ("lease/keepalive", Call::LeaseKeepAlive),
    ("lease/leases", Call::LeaseLeases),
    ("lease/revoke", Call::LeaseRevoke),
    ("lease/timetolive", Call::LeaseTimeToLive),
    ("lock/lock", Call::Lock),
    ("lock/unlock", Call::Unlock),
    ("maintenance/alarm", Call::Alarm),
    ("maintenance/defragment", Call::Defragment),
    ("maintenance/downgrade", Call::Downgrade),
    ("maintenance/hash", Call::Hash),
    ("maintenance/hashkv", Call::HashKv),
    ("maintenance/snapshot", Call::Snapshot),
    ("maintenance/status", Call::Status),
    ("maintenance/transfer-leadership", Call::MoveLeader),
    ("watch", Call::Watch),
];

fn at(path: &str) -> Option<Call> {
    let place = PLACES.binary_search_by(|(place, _)| (*place).cmp(path)).ok()?;
    PLACES.get(place).map(|(_, call)| *call)
}

async fn hand(visit: Visit, call: Call, body: &Bytes) -> Result<Response<Body>, Failure> {
    match call {
        Call::Range => unary(visit, body, kv::range).await,
        Call::Put => unary(visit, body, kv::put).await,
        Call::DeleteRange => unary(visit, body, kv::delete_range).await,
        Call::Txn => unary(visit, body, kv::txn).await,
        Call::Compact => unary(visit, body, kv::compact).await,
        Call::LeaseGrant => unary(visit, body, lease::grant).await,
        Call::LeaseRevoke => unary(visit, body, lease::revoke).await,
        Call::LeaseKeepAlive => both_ways(visit, body, lease::answers).await,
        Call::LeaseTimeToLive => unary(visit, body, lease::time_to_live).await,
        Call::LeaseLeases => unary(visit, body, lease::leases).await,
        Call::Watch => both_ways(visit, body, watch::answers).await,
        Call::Lock => unary(visit, body, lock::lock).await,
        Call::Unlock => unary(visit, body, lock::unlock).await,
        Call::Campaign => unary(visit, body, election::campaign).await,
        Call::Proclaim => unary(visit, body, election::proclaim).await,
        Call::Leader => unary(visit, body, election::leader).await,
        Call::Resign => unary(visit, body, election::resign).await,
        Call::Observe => lines(election::observe(visit, json::read(body)?)).await,
        Call::MemberList => unary(visit, body, members::list).await,
        Call::MemberAdd => unary(visit, body, members::add).await,
        Call::MemberRemove => unary(visit, body, members::remove).await,
        Call::MemberUpdate => unary(visit, body, members::update).await,
        Call::MemberPromote => unary(visit, body, members::promote).await,
        Call::Alarm => unary(visit, body, maintenance::alarm).await,
        Call::Status => unary(visit, body, maintenance::status).await,
        Call::Defragment => unary(visit, body, maintenance::defragment).await,
        Call::Hash => unary(visit, body, maintenance::hash).await,
        Call::HashKv => unary(visit, body, maintenance::hash_kv).await,
        Call::Snapshot => lines(maintenance::snapshot(visit, json::read(body)?)).await,
        Call::MoveLeader => unary(visit, body, maintenance::move_leader).await,
        Call::Downgrade => {
            let answer = unary(visit, body, maintenance::downgrade).await;
            answer.map_err(maintenance::without_action)
        }
        Call::AuthEnable => unary(visit, body, auth::enable).await,
        Call::AuthDisable => unary(visit, body, auth::disable).await,
        Call::AuthStatus => unary(visit, body, auth::status).await,
        Call::Authenticate => unary(visit, body, auth::authenticate).await,
        Call::UserAdd => unary(visit, body, auth::add_user).await,
        Call::UserGet => unary(visit, body, auth::user).await,
        Call::UserList => unary(visit, body, auth::users).await,
        Call::UserDelete => unary(visit, body, auth::delete_user).await,
        Call::UserChangePassword => unary(visit, body, auth::change_password).await,
        Call::UserGrantRole => unary(visit, body, auth::grant_role).await,
        Call::UserRevokeRole => unary(visit, body, auth::revoke_role).await,
        Call::RoleAdd => unary(visit, body, auth::add_role).await,
        Call::RoleGet => unary(visit, body, auth::role).await,
        Call::RoleList => unary(visit, body, auth::roles).await,
        Call::RoleDelete => unary(visit, body, auth::delete_role).await,
        Call::RoleGrantPermission => unary(visit, body, auth::grant_permission).await,
        Call::RoleRevokePermission => unary(visit, body, auth::revoke_permission).await,
    }
}

/// Any number asked, one line for each answer.
async fn both_ways<Q, A>(
    visit: Visit,
    body: &[u8],
    handler: impl FnOnce(Visit, BoxStream<'static, Result<Q, Failure>>) -> Answers<A>,
) -> Result<Response<Body>, Failure>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    lines(handler(visit, stream::iter(json::each(body)).map(Ok).boxed())).await
}

/// Any number of answers may come: a refusal is the last line of them.
fn is_stream(call: Call) -> bool {
    matches!(call, Call::Watch | Call::LeaseKeepAlive | Call::Observe | Call::Snapshot)
}

/// One message asked, one answered.
async fn unary<Q, A, F>(
    visit: Visit,
    body: &[u8],
    handler: impl FnOnce(Visit, Q) -> F,
) -> Result<Response<Body>, Failure>
where
    Q: Message + DeserializeOwned + Default,
    A: Serialize,
    F: Future<Output = Result<A, Failure>>,
{
    let answer = handler(visit, json::read(body)?).await?;
    Ok(answered(Body::from(serde_json::to_vec(&answer).unwrap_or_default())))
}

/// The headers go with the first answer: nothing is said before it.
async fn lines<A: Serialize + Send + 'static>(
    mut answers: Answers<A>,
) -> Result<Response<Body>, Failure> {
    let first = match answers.next().await {
        None => {
            let nothing = stream::empty::<Result<Bytes, Infallible>>();
            return Ok(Response::new(Body::from_stream(nothing)));
        }
        Some(Err(failure)) => return Ok(failure.into_stream()),
        Some(Ok(first)) => first,
    };
    let lines = stream::iter([Ok(first)]).chain(answers).map(|answer| match answer {
        Ok(answer) => result_line(&answer),
        Err(failure) => failure.line(),
    });
    Ok(answered(Body::from_stream(lines.map(Ok::<_, Infallible>))))
}

/// One answer of a stream.
fn result_line<A: Serialize>(answer: &A) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a, A> {
        result: &'a A,
    }
    let mut line = serde_json::to_vec(&Line { result: answer }).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn unread(error: BodyError) -> Failure {
    match error {
        // The text names the size of the message, of which base64 makes a third more.
        BodyError::TooLarge { len, .. } => kv::too_long(len / 4 * 3),
        other => Failure::invalid(other.to_string()),
    }
}

fn answered(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(GRPC_CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// With the query that was asked with; who reads pages is shown one.
fn moved(path: &str, request: &Request<Body>) -> Response<Body> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = format!("{path}{query}");
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let escaped = to.replace('&', "&amp;").replace('"', "&#34;").replace('\'', "&#39;");
    let page = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n");
    let mut response = Response::new(if reads { Body::from(page) } else { Body::empty() });
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&to) {
        headers.insert(LOCATION, location);
    }
    if reads {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found() {
        assert!(PLACES.is_sorted_by_key(|(place, _)| *place));
        for (place, call) in PLACES {
            assert_eq!(at(place), Some(call));
        }
        assert_eq!((at(""), at("kv"), at("kv/range/")), (None, None, None));
    }
}

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

use crate::model::limits;
use crate::net::http::{BodyError, collect};

use super::error::{Code, Failure};
use super::proto::LeaseLeasesRequest;
use super::{Front, election, json, kv, lease, lock, members, watch};

/// Base64 of the largest gRPC message, with room for the names around it.
const BODY_MAX: usize = 4 * 1024 * 1024;

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
    let path = request.uri().path();
    if path == "/v3" || path == "/v3beta" {
        return Ok(moved(path));
    }
    // What was a beta is the same today.
    let call = path.strip_prefix("/v3beta/").or_else(|| path.strip_prefix("/v3/"));
    let Some(call) = call.and_then(Call::at) else {
        return Err(Failure::new(Code::NotFound, "Not Found"));
    };
    if request.method() != Method::POST {
        return Err(Failure::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let body = collect(request.into_body(), BODY_MAX, limits::HTTP_BODY_TIMEOUT).await;
    call.answer(front, body.map_err(unread)?).await
}

/// What the gateway can be asked.
#[derive(Clone, Copy)]
enum Call {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseLeases,
    Watch,
    Lock,
    Unlock,
    Campaign,
    Proclaim,
    Leader,
    Observe,
    Resign,
    MemberList,
}

impl Call {
    /// Three of the calls of leases have an older place, too.
    fn at(path: &str) -> Option<Call> {
        Some(match path {
            "kv/range" => Call::Range,
            "kv/put" => Call::Put,
            "kv/deleterange" => Call::DeleteRange,
            "kv/txn" => Call::Txn,
            "kv/compaction" => Call::Compact,
            "lease/grant" => Call::LeaseGrant,
            "lease/revoke" | "kv/lease/revoke" => Call::LeaseRevoke,
            "lease/keepalive" => Call::LeaseKeepAlive,
            "lease/timetolive" | "kv/lease/timetolive" => Call::LeaseTimeToLive,
            "lease/leases" | "kv/lease/leases" => Call::LeaseLeases,
            "watch" => Call::Watch,
            "lock/lock" => Call::Lock,
            "lock/unlock" => Call::Unlock,
            "election/campaign" => Call::Campaign,
            "election/proclaim" => Call::Proclaim,
            "election/leader" => Call::Leader,
            "election/observe" => Call::Observe,
            "election/resign" => Call::Resign,
            "cluster/member/list" => Call::MemberList,
            _ => return None,
        })
    }

    async fn answer(self, front: &Arc<Front>, body: Bytes) -> Result<Response<Body>, Failure> {
        match self {
            Call::Range => unary(&body, |asked| kv::range(front, asked)).await,
            Call::Put => unary(&body, |asked| kv::put(front, asked)).await,
            Call::DeleteRange => unary(&body, |asked| kv::delete_range(front, asked)).await,
            Call::Txn => unary(&body, |asked| kv::txn(front, asked)).await,
            Call::Compact => unary(&body, |asked| kv::compact(front, asked)).await,
            Call::LeaseGrant => unary(&body, |asked| lease::grant(front, asked)).await,
            Call::LeaseRevoke => unary(&body, |asked| lease::revoke(front, asked)).await,
            Call::LeaseTimeToLive => unary(&body, |asked| lease::time_to_live(front, asked)).await,
            Call::LeaseLeases => unary(&body, |_: LeaseLeasesRequest| lease::leases(front)).await,
            Call::LeaseKeepAlive => {
                let asked = stream::iter(json::each(&body)).map(Ok).boxed();
                lines(lease::answers(front.clone(), asked)).await
            }
            Call::Watch => {
                let asked = stream::iter(json::each(&body)).map(Ok).boxed();
                lines(watch::answers(front.clone(), asked)).await
            }
            Call::Lock => unary(&body, |asked| lock::lock(front, asked)).await,
            Call::Unlock => unary(&body, |asked| lock::unlock(front, asked)).await,
            Call::Campaign => unary(&body, |asked| election::campaign(front, asked)).await,
            Call::Proclaim => unary(&body, |asked| election::proclaim(front, asked)).await,
            Call::Leader => unary(&body, |asked| election::leader(front, asked)).await,
            Call::Resign => unary(&body, |asked| election::resign(front, asked)).await,
            Call::Observe => lines(election::observe(front.clone(), json::read(&body)?)).await,
            Call::MemberList => unary(&body, |asked| members::list(front, asked)).await,
        }
    }
}

/// One message asked, one answered.
async fn unary<Q, A, F>(body: &[u8], call: impl FnOnce(Q) -> F) -> Result<Response<Body>, Failure>
where
    Q: Message + DeserializeOwned + Default,
    A: Serialize,
    F: Future<Output = Result<A, Failure>>,
{
    let answer = call(json::read(body)?).await?;
    Ok(answered(Body::from(serde_json::to_vec(&answer).unwrap_or_default())))
}

/// The headers go with the first answer: nothing is said before it.
async fn lines<A: Serialize + Send + 'static>(
    mut answers: BoxStream<'static, Result<A, Failure>>,
) -> Result<Response<Body>, Failure> {
    let Some(first) = answers.next().await else { return Ok(answered(Body::empty())) };
    let lines = stream::iter([Ok(first?)]).chain(answers).map(|answer| match answer {
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

fn moved(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{path}/")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

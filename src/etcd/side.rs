//! What etcd serves beside its API: `/version` and `/health`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::cluster::Consistency;

use super::error::Failure;
use super::{Front, SPOKEN};

pub async fn version(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let response = match refused(request.method()) {
        Some(response) => response,
        None => {
            let body = format!(
                r#"{{"etcdserver":"{SPOKEN}","etcdcluster":"{SPOKEN}","storage":"{SPOKEN}"}}"#
            );
            with(StatusCode::OK, "application/json", body)
        }
    };
    front.requests.count("etcd", response.status());
    response
}

/// Healthy is who has no alarm and can read through a leader, or with `serializable` who has a
/// state at all.
pub async fn health(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let response = match refused(request.method()) {
        Some(response) => response,
        None => health_of(ailing(&front, request.uri().query().unwrap_or_default()).await),
    };
    front.requests.count("etcd", response.status());
    response
}

/// What is wrong, of what the query does not leave out.
async fn ailing(front: &Front, query: &str) -> Option<String> {
    let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
    let state = front.cluster.snapshot();
    let mut raised = state.alarms().map(|alarm| alarm.kind.as_str());
    if let Some(kind) = raised.find(|kind| !pairs().any(|pair| pair == ("exclude", *kind))) {
        return Some(format!("ALARM {kind}"));
    }
    let local = pairs().any(|pair| pair == ("serializable", "true"));
    if !local && front.cluster.standing().leader.is_none() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let how = if local { Consistency::Local } else { Consistency::Linearizable };
    let failure = front.cluster.read(how).await.err().map(Failure::from)?;
    Some(format!("RANGE ERROR:{failure}"))
}

fn health_of(why: Option<String>) -> Response<Body> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match why {
        None => with(StatusCode::OK, TEXT, r#"{"health":"true","reason":""}"#.to_owned()),
        Some(why) => {
            let reason = serde_json::Value::from(why);
            let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}\n");
            nosniff(with(StatusCode::SERVICE_UNAVAILABLE, TEXT, body))
        }
    }
}

/// Any method but GET.
fn refused(method: &Method) -> Option<Response<Body>> {
    match *method {
        Method::GET => None,
        Method::OPTIONS => Some(Response::new(Body::empty())),
        _ => {
            let text = "Method Not Allowed\n".to_owned();
            let plain = "text/plain; charset=utf-8";
            let mut response = with(StatusCode::METHOD_NOT_ALLOWED, plain, text);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            Some(nosniff(response))
        }
    }
}

/// The old API is gone from etcd, too.
pub async fn not_found(State(front): State<Arc<Front>>) -> Response<Body> {
    front.requests.count("etcd", StatusCode::NOT_FOUND);
    let plain = "text/plain; charset=utf-8";
    nosniff(with(StatusCode::NOT_FOUND, plain, "404 page not found\n".to_owned()))
}

/// As Go's errors: what is no page is not to be taken for one.
fn nosniff(mut response: Response<Body>) -> Response<Body> {
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

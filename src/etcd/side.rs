//! What etcd serves beside its API: `/version` and `/health`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::cluster::Consistency;

use super::Front;
use super::error::Failure;

/// The etcd whose interface this is: clients look at it to learn what they may ask for.
const VERSION: &str = r#"{"etcdserver":"3.6.0","etcdcluster":"3.6.0","storage":"3.6.0"}"#;

pub async fn version(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let response = match refused(request.method()) {
        Some(response) => response,
        None => with(StatusCode::OK, "application/json", VERSION.to_owned()),
    };
    front.requests.count("etcd", response.status());
    response
}

/// Healthy is who can read through a leader, or with `serializable` who has a state at all.
pub async fn health(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let response = match refused(request.method()) {
        Some(response) => response,
        None => {
            let query = request.uri().query().unwrap_or_default();
            let local = query.split('&').any(|pair| pair == "serializable=true");
            let why = match local {
                true => front.cluster.read(Consistency::Local).await.err().map(|e| e.to_string()),
                false => front
                    .cluster
                    .read(Consistency::Linearizable)
                    .await
                    .err()
                    .map(|e| Failure::from(e).to_string()),
            };
            health_of(why)
        }
    };
    front.requests.count("etcd", response.status());
    response
}

fn health_of(why: Option<String>) -> Response<Body> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match why {
        None => with(StatusCode::OK, TEXT, r#"{"health":"true","reason":""}"#.to_owned()),
        Some(why) => {
            let reason = serde_json::Value::from(format!("RANGE ERROR:{why}"));
            let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}\n");
            with(StatusCode::SERVICE_UNAVAILABLE, TEXT, body)
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
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Some(response)
        }
    }
}

/// The old API is gone from etcd, too.
pub async fn not_found(State(front): State<Arc<Front>>) -> Response<Body> {
    front.requests.count("etcd", StatusCode::NOT_FOUND);
    let plain = "text/plain; charset=utf-8";
    let mut response = with(StatusCode::NOT_FOUND, plain, "404 page not found\n".to_owned());
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

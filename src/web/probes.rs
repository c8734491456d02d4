//! `/livez` and `/readyz`: is this process well, and may it be sent traffic.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use http::header::{ALLOW, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::cluster::{Cluster, Consistency, ReadError};
use crate::lifecycle::Gate;
use crate::state::AlarmKind;

use super::{Parts, TEXT, answer};

/// How long a probe waits for a leader.
const PATIENCE: Duration = Duration::from_secs(7);

/// As etcd words it.
const NO_LEADER: &str = "etcdserver: request timed out";

/// A check's name and what is wrong.
type Check = (&'static str, Option<String>);

pub async fn live(
    State(parts): State<Arc<Parts>>,
    only: Option<Path<String>>,
    request: Request<Body>,
) -> Response<Body> {
    // Who waits for a cluster has nothing to read yet, and a restart would not help. etcd does not
    // listen at all until then.
    let wrong = match parts.cluster.read(Consistency::Local).await {
        Ok(_) | Err(ReadError::NotSynced) => None,
        Err(error) => Some(error.to_string()),
    };
    let checks = vec![("serializable_read", wrong)];
    respond(&parts, checks, only, &request)
}

pub async fn ready(
    State(parts): State<Arc<Parts>>,
    only: Option<Path<String>>,
    request: Request<Body>,
) -> Response<Body> {
    let gates = parts.life.gates.clone();
    let gate = |gate: Gate| (!gates.is_open(gate)).then(|| "the gate is shut".to_owned());
    let mut checks: Vec<Check> = Gate::ALL.iter().map(|g| (g.name(), gate(*g))).collect();
    let local = parts.cluster.read(Consistency::Local).await.err();
    checks.push(("serializable_read", local.map(|error| error.to_string())));
    checks.push(("linearizable_read", linearizable(&parts.cluster).await));
    // Where etcd's learners serve nothing and are not ready, a standby serves everything.
    checks.push(("non_learner", None));
    let corrupt = parts.cluster.snapshot().has_alarm(AlarmKind::Corrupt);
    checks.push(("data_corruption", corrupt.then(|| "alarm activated: CORRUPT".to_owned())));
    respond(&parts, checks, only, &request)
}

async fn linearizable(cluster: &Cluster) -> Option<String> {
    let read = cluster.read(Consistency::Linearizable);
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Err(ReadError::NoLeader | ReadError::NoQuorum)) | Err(_) => Some(NO_LEADER.to_owned()),
        Ok(outcome) => outcome.err().map(|error| error.to_string()),
    }
}

/// As etcd words it: `ok`, or every check with what is wrong. `verbose` lists all.
fn respond(
    parts: &Parts,
    mut checks: Vec<Check>,
    only: Option<Path<String>>,
    request: &Request<Body>,
) -> Response<Body> {
    match *request.method() {
        Method::GET => {}
        Method::OPTIONS => {
            parts.requests.count("web", StatusCode::OK);
            return Response::new(Body::empty());
        }
        _ => return not_allowed(parts),
    }
    if let Some(Path(only)) = only {
        checks.retain(|(name, _)| *name == only);
        if checks.is_empty() {
            return nosniff(answer(parts, StatusCode::NOT_FOUND, TEXT, "404 page not found\n"));
        }
    }
    let query = request.uri().query().unwrap_or_default();
    let pairs = || query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    checks.retain(|(name, _)| !pairs().any(|pair| pair == ("exclude", *name)));
    let verbose = pairs().any(|(name, _)| name == "verbose");
    let (status, text) = worded(&checks, verbose);
    nosniff(answer(parts, status, TEXT, text))
}

fn worded(checks: &[Check], verbose: bool) -> (StatusCode, String) {
    let good = checks.iter().all(|(_, wrong)| wrong.is_none());
    let lines: String = checks
        .iter()
        .map(|(name, wrong)| match wrong {
            None => format!("[+]{name} ok\n"),
            Some(wrong) => format!("[-]{name} failed: {wrong}\n"),
        })
        .collect();
    match (good, verbose) {
        (true, false) => (StatusCode::OK, "ok\n".to_owned()),
        (true, true) => (StatusCode::OK, format!("{lines}ok\n")),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("{lines}\n")),
    }
}

fn not_allowed(parts: &Parts) -> Response<Body> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = answer(parts, status, TEXT, "Method Not Allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    nosniff(response)
}

fn nosniff(mut response: Response<Body>) -> Response<Body> {
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

//! The JSON gateway: `POST /v3/…` to a call, its answer to JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::model::limits;
use crate::net::http::{BodyError, collect};
use crate::state::{Key, KeyRow};

use super::Front;
use super::error::{Code, Failure};
use super::kv::{self, DeleteRangeRequest, PutRequest, RangeRequest};
use super::proto::{self, DeleteRangeResponse, KeyValue, PutResponse, RangeResponse};

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

async fn serve(front: &Front, request: Request<Body>) -> Result<Response<Body>, Failure> {
    if request.method() == Method::OPTIONS {
        return Ok(Response::new(Body::empty()));
    }
    let path = request.uri().path();
    if path == "/v3" || path == "/v3beta" {
        return Ok(moved(path));
    }
    // What was a beta is the same today.
    let call = path.strip_prefix("/v3beta/").or_else(|| path.strip_prefix("/v3/"));
    let call = match call {
        Some(call @ ("kv/put" | "kv/range" | "kv/deleterange")) => call.to_owned(),
        _ => return Err(Failure::new(Code::NotFound, "Not Found")),
    };
    if request.method() != Method::POST {
        return Err(Failure::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let body = collect(request.into_body(), BODY_MAX, limits::HTTP_BODY_TIMEOUT).await;
    let body = body.map_err(unread)?;
    match &*call {
        "kv/put" => put(front, &body).await,
        "kv/range" => range(front, &body).await,
        _ => delete_range(front, &body).await,
    }
}

fn unread(error: BodyError) -> Failure {
    match error {
        BodyError::TooLarge { len, .. } => {
            // The text names the size of the message, of which base64 makes a third more.
            let size = len / 4 * 3;
            let max = limits::ETCD_MESSAGE;
            let text = format!("grpc: received message larger than max ({size} vs. {max})");
            Failure::new(Code::ResourceExhausted, text)
        }
        other => Failure::invalid(other.to_string()),
    }
}

async fn range(front: &Front, body: &Bytes) -> Result<Response<Body>, Failure> {
    let request: RangeRequest = proto::read(body)?;
    let (header, result) = kv::range(&front.cluster, &request).await?;
    let kvs = result.rows.iter().map(|row| key_value(row, request.keys_only)).collect();
    Ok(json(&RangeResponse { header, kvs, more: result.more, count: result.count }))
}

async fn put(front: &Front, body: &Bytes) -> Result<Response<Body>, Failure> {
    let request: PutRequest = proto::read(body)?;
    let (header, prev) = kv::put(&front.cluster, &request, front.config.request_limit).await?;
    let prev_kv = prev.as_ref().map(|row| KeyValue { key: &request.key, row, keys_only: false });
    Ok(json(&PutResponse { header, prev_kv }))
}

async fn delete_range(front: &Front, body: &Bytes) -> Result<Response<Body>, Failure> {
    let request: DeleteRangeRequest = proto::read(body)?;
    let (header, (deleted, prev)) = kv::delete_range(&front.cluster, &request).await?;
    let prev_kvs = prev.iter().map(|row| key_value(row, false)).collect();
    Ok(json(&DeleteRangeResponse { header, deleted, prev_kvs }))
}

fn key_value((key, row): &(Key, Arc<KeyRow>), keys_only: bool) -> KeyValue<'_> {
    KeyValue { key, row, keys_only }
}

fn json<T: Serialize>(message: &T) -> Response<Body> {
    let body = serde_json::to_vec(message).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
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

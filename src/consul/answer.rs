//! Puts answers together: bodies, and the headers that say how fresh they are.

use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::json;
use super::shared::Content;

pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const FALSE: HeaderValue = HeaderValue::from_static("false");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const EFFECTIVE: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
/// Whether an answer came from a cache.
const CACHE: HeaderName = HeaderName::from_static("x-cache");
/// How many keys were left out of the JSON because they are not UTF-8.
const OMITTED: HeaderName = HeaderName::from_static("x-remora-omitted");

/// How fresh an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    pub index: u64,
    pub known_leader: bool,
    pub last_contact: Duration,
    /// `leader`, `consistent` or `stale`; only catalog and health say it.
    pub effective: Option<&'static str>,
}

/// Compact JSON, or with four spaces and a newline at the end.
pub fn json<T: Serialize>(value: &T, pretty: bool) -> Response<Body> {
    json_body(Body::from(json::to_vec(value, pretty)))
}

pub fn json_body(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    add_vary(headers);
    headers.insert(CONTENT_TYPE, JSON);
    response
}

/// What an equal question may have been answered with. None: there is nothing to show.
pub fn content(content: &Content) -> Option<Response<Body>> {
    let (mut response, omitted) = match content {
        Content::Nothing { .. } => return None,
        Content::Whole { body, omitted } => (json_body(Body::from(body.clone())), *omitted),
        Content::Shuffled(deck) => (json_body(Body::new(deck.deal(&mut rand::rng()))), 0),
        Content::Raw(value) => (raw(value.clone()), 0),
    };
    add_omitted(response.headers_mut(), omitted);
    Some(response)
}

/// What registrations answer: 200 and nothing.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    add_vary(response.headers_mut());
    response
}

/// A key's value as it is. The headers keep a browser from running it.
pub fn raw(value: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(value));
    let headers = response.headers_mut();
    add_vary(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(http::header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

pub fn add_vary(headers: &mut HeaderMap) {
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// An index alone. Never 0: clients take that for "no index at all".
pub fn add_index(headers: &mut HeaderMap, index: u64) {
    headers.insert(INDEX, HeaderValue::from(index.max(1)));
}

pub fn add_freshness(headers: &mut HeaderMap, freshness: &Freshness) {
    add_index(headers, freshness.index);
    add_contact(headers, freshness);
    if let Some(effective) = freshness.effective {
        headers.insert(EFFECTIVE, HeaderValue::from_static(effective));
    }
}

/// The same without an index: nobody can wait for that answer to change.
pub fn add_contact(headers: &mut HeaderMap, freshness: &Freshness) {
    headers.insert(KNOWN_LEADER, if freshness.known_leader { TRUE } else { FALSE });
    let milliseconds = u64::try_from(freshness.last_contact.as_millis()).unwrap_or(u64::MAX);
    headers.insert(LAST_CONTACT, HeaderValue::from(milliseconds));
}

/// Who asks for what is cached gets what is true: there is no cache but the state in memory.
pub fn add_uncached(headers: &mut HeaderMap) {
    headers.insert(CACHE, HeaderValue::from_static("MISS"));
}

pub fn add_omitted(headers: &mut HeaderMap, omitted: u64) {
    if omitted > 0 {
        headers.insert(OMITTED, HeaderValue::from(omitted));
    }
}

/// What a failed read of the catalog says of its freshness.
pub fn add_failed_read(headers: &mut HeaderMap) {
    headers.insert(INDEX, HeaderValue::from(1));
    headers.insert(KNOWN_LEADER, FALSE);
    headers.insert(LAST_CONTACT, HeaderValue::from(0));
}

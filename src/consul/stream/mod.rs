//! `GET /v1/watch`: what becomes of services, keys and prefixes, as one stream of server-sent
//! events (the WHATWG's HTML standard, section 9.2).

mod events;
mod place;
mod subject;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};
use tokio::time::Instant;

use crate::model::limits;

use super::answer;
use super::blocking::{self, Class};
use super::call::{Answer, Call};
use super::duration;
use super::error::Failure;
use super::params::{self, Options};
use super::shared;

use events::Events;
use place::Place;

/// What a client that reconnects has heard last.
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies of nginx's kind send on what they get at once.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

pub async fn answer(call: Call<'_>) -> Answer {
    let (mode, max_stale) = params::consistency(&call.params)?;
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)?;
    let until = until(&call)?;
    let heard = heard(&call)?;
    let mut subjects = subject::all(&call)?;
    let places = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
    let Ok(room) = call.front.places.waiters.clone().try_acquire_many_owned(places) else {
        return Err(shared::too_many());
    };
    // Watched before it is read, so that no change between the two is missed.
    let topics = subjects.iter().flat_map(|subject| subject.slot.topics());
    let watch = call.front.cluster.watch(topics);
    let options = Options { mode, max_stale, index: 0, wait: Default::default() };
    let (state, _) = blocking::fresh(&call.front.cluster, Class::Catalog, &options).await?;
    for subject in &mut subjects {
        subject.slot.admit(&state)?;
        subject.begin(heard, &state);
    }
    let front = call.front.clone();
    let heard = heard.unwrap_or(Place::BEGINNING);
    let events = Events::new(front, subjects, watch, heard, until, room);
    let mut response = Response::new(Body::from_stream(events.stream()));
    let headers = response.headers_mut();
    answer::add_vary(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// Where the client has been. A reconnecting browser repeats its first URL, so its header counts.
fn heard(call: &Call<'_>) -> Result<Option<Place>, Failure> {
    let header = call.headers.get(LAST_EVENT).and_then(|value| value.to_str().ok());
    let given = header.or_else(|| call.params.get("index")).filter(|text| !text.is_empty());
    let place = |text: &str| {
        let unknown = || Failure::bad(format!("Invalid index: {text:?} is no id of an event"));
        Place::parse(text).ok_or_else(unknown)
    };
    given.map(place).transpose()
}

/// When the stream ends by itself; none: when its client goes.
fn until(call: &Call<'_>) -> Result<Option<Instant>, Failure> {
    let Some(text) = call.params.get("wait").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wait = duration::parse(text).and_then(duration::positive);
    let wait = wait.ok_or_else(|| Failure::bad("Invalid wait time"))?;
    Ok(Some(Instant::now() + wait.min(limits::STREAM_WAIT_MAX)))
}

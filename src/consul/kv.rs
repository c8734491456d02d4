//! `/v1/kv`: keys read, listed, written and deleted as Consul does it.

use std::collections::BTreeSet;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response, StatusCode};

use crate::access::Need;
use crate::model::{Revision, SessionId};
use crate::net::http::{BodyError, path};
use crate::replica::Topic;
use crate::state::{Command, Key, KeyRange, KvCommand, Outcome, State};

use super::answer;
use super::blocking::{self, Class, Mark, View};
use super::call::{Answer, Call, moved, whole};
use super::error::Failure;
use super::json;
use super::params::{self, Options};
use super::routes;
use super::rows::KeyJson;
use super::session;

pub async fn answer(call: Call<'_>, body: Body) -> Answer {
    match *call.method {
        Method::PUT => put(call, body).await,
        Method::DELETE => delete(call).await,
        _ => get(call).await,
    }
}

async fn get(call: Call<'_>) -> Answer {
    let options = call.options()?;
    let lists = call.params.has("keys");
    let recurses = call.params.has("recurse");
    if call.rest.is_empty() && !lists && !recurses {
        return Err(Failure::bad("Missing key name"));
    }
    let key = Bytes::from(call.rest.to_vec());
    if lists || recurses {
        prefix(&call, &options, key, lists).await
    } else {
        one(&call, &options, key).await
    }
}

async fn one(call: &Call<'_>, options: &Options, key: Key) -> Answer {
    let topics = || vec![Topic::Key(key.clone())];
    let mark = |state: &State| Mark {
        index: index(state.key_index(&key)),
        found: state.key(&key).is_some(),
    };
    let range = KeyRange::one(key.clone());
    // Nobody waits for what it may not see, and rights may be withdrawn while it waits.
    call.may(&call.front.cluster.snapshot(), Need::Read(&range))?;
    let view = blocking::read(call.front, Class::Keys, options, topics, mark).await?;
    call.may(&view.state, Need::Read(&range))?;
    let Some(row) = view.state.key(&key) else {
        return Ok(nothing(call, options, &key, &view));
    };
    let mut response = match std::str::from_utf8(&key) {
        _ if call.params.has("raw") => answer::raw(row.value.clone()),
        Ok(text) => answer::json(&[KeyJson { key: text, row }], call.pretty()),
        // JSON cannot name it.
        Err(_) => {
            let mut response = nothing(call, options, &key, &view);
            answer::add_omitted(response.headers_mut(), 1);
            return Ok(response);
        }
    };
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

/// 404 without a body. Where the path is unclean and nobody waits, the clean one may be meant.
fn nothing(call: &Call<'_>, options: &Options, key: &[u8], view: &View) -> Response<Body> {
    if options.index == 0 {
        let whole = [routes::KV.as_bytes(), key].concat();
        if let Some(cleaned) = path::clean(&whole) {
            return moved(&cleaned, call.query, call.method);
        }
    }
    let mut response = answer::empty(StatusCode::NOT_FOUND);
    answer::add_freshness(response.headers_mut(), &view.freshness);
    response
}

async fn prefix(call: &Call<'_>, options: &Options, prefix: Key, lists: bool) -> Answer {
    let topics = || vec![Topic::Prefix(prefix.clone())];
    let mark = |state: &State| Mark {
        index: index(state.prefix_index(&prefix)),
        found: state.keys_with_prefix(&prefix).next().is_some(),
    };
    let range = KeyRange::prefix(&prefix);
    call.may(&call.front.cluster.snapshot(), Need::Read(&range))?;
    let view = blocking::read(call.front, Class::Keys, options, topics, mark).await?;
    call.may(&view.state, Need::Read(&range))?;
    let mut omitted = 0;
    let body = if lists {
        names(call, &view.state, &prefix, &mut omitted)
    } else {
        rows(call, &view.state, &prefix, &mut omitted)
    };
    let mut response = match body {
        Some(body) => answer::json_bytes(body),
        None if omitted == 0 => return Ok(nothing(call, options, &prefix, &view)),
        None => answer::json_bytes(b"[]".to_vec()),
    };
    answer::add_omitted(response.headers_mut(), omitted);
    answer::add_freshness(response.headers_mut(), &view.freshness);
    Ok(response)
}

/// All rows under a prefix; none where there are none.
fn rows(call: &Call<'_>, state: &State, prefix: &[u8], omitted: &mut u64) -> Option<Vec<u8>> {
    let mut rows = Vec::new();
    for (key, row) in state.keys_with_prefix(prefix) {
        match std::str::from_utf8(key) {
            Ok(key) => rows.push(KeyJson { key, row }),
            Err(_) => *omitted += 1,
        }
    }
    (!rows.is_empty()).then(|| json::to_vec(&rows, call.pretty()))
}

/// The keys under a prefix, cut behind the first separator that follows it.
fn names(call: &Call<'_>, state: &State, prefix: &[u8], omitted: &mut u64) -> Option<Vec<u8>> {
    let separator = call.params.get("separator").or_else(|| call.params.get("seperator"));
    let separator = separator.unwrap_or_default().as_bytes();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (key, _) in state.keys_with_prefix(prefix) {
        match std::str::from_utf8(cut(key, prefix.len(), separator)) {
            Ok(name) => {
                names.insert(name);
            }
            Err(_) => *omitted += 1,
        }
    }
    (!names.is_empty() || prefix.is_empty()).then(|| json::to_vec(&names, call.pretty()))
}

fn cut<'a>(key: &'a [u8], prefix: usize, separator: &[u8]) -> &'a [u8] {
    if separator.is_empty() {
        return key;
    }
    let behind = key.get(prefix..).unwrap_or_default();
    match behind.windows(separator.len()).position(|window| window == separator) {
        Some(at) => key.get(..prefix + at + separator.len()).unwrap_or(key),
        None => key,
    }
}

async fn put(call: Call<'_>, body: Body) -> Answer {
    check_write(&call)?;
    let key = key(&call)?;
    if conflicting(&call, &["cas", "acquire", "release"]) {
        return Err(conflict(&call));
    }
    let flags = call.params.number("flags")?.unwrap_or_default();
    let cas = cas(&call)?;
    let limit = call.front.config.kv_value_limit;
    let value = whole(body, limit).await.map_err(too_large)?;
    let command = match (call.params.get("acquire"), call.params.get("release")) {
        (Some(session), _) => {
            let session = holder(session)?.map_err(Failure::internal)?;
            KvCommand::Acquire { key, value, flags, session }
        }
        (None, Some(session)) => {
            // What is no session's id holds nothing, and is not looked up.
            let session = holder(session)?.unwrap_or(SessionId::NOBODY);
            KvCommand::Release { key, value, flags, session }
        }
        (None, None) => KvCommand::Set { key, value, flags, cas },
    };
    write(&call, command).await
}

/// The session that is named, or what Consul says of an id that cannot be one.
fn holder(text: &str) -> Result<Result<SessionId, &'static str>, Failure> {
    match text {
        "" => Err(Failure::internal("missing session")),
        text => Ok(session::id(text)),
    }
}

async fn delete(call: Call<'_>) -> Answer {
    check_write(&call)?;
    if call.params.has("recurse") {
        if call.params.has("cas") {
            return Err(conflict(&call));
        }
        let prefix = Bytes::from(call.rest.to_vec());
        return write(&call, KvCommand::DeleteTree { prefix }).await;
    }
    let key = key(&call)?;
    let cas = cas(&call)?;
    write(&call, KvCommand::Delete { key, cas }).await
}

async fn write(call: &Call<'_>, command: KvCommand) -> Answer {
    let held = match call.propose(Command::Kv(command)).await? {
        Outcome::Kv(held) => held,
        other => return Err(Failure::internal(format!("unexpected outcome {other:?}"))),
    };
    Ok(answer::json(&held, call.pretty()))
}

fn check_write(call: &Call<'_>) -> Result<(), Failure> {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)
}

fn key(call: &Call<'_>) -> Result<Key, Failure> {
    match call.rest.is_empty() {
        true => Err(Failure::bad("Missing key name")),
        false => Ok(Bytes::from(call.rest.to_vec())),
    }
}

fn cas(call: &Call<'_>) -> Result<Option<Revision>, Failure> {
    let asked = call.params.number("cas")?;
    // No revision is above what an i64 holds, so a larger one matches nothing, like the largest.
    Ok(asked.map(|asked| Revision::try_from(asked).unwrap_or(Revision::MAX)))
}

fn conflicting(call: &Call<'_>, flags: &[&str]) -> bool {
    flags.iter().filter(|flag| call.params.has(flag)).count() > 1
}

fn conflict(call: &Call<'_>) -> Failure {
    Failure::bad(format!("Conflicting flags: {}\n", call.params.sorted()))
}

fn too_large(error: BodyError) -> Failure {
    match error {
        BodyError::TooLarge { len, max } => Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "Request body({len} bytes) too large, max size: {max} bytes. \
                 See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
            ),
        ),
        other => other.into(),
    }
}

fn index(revision: Revision) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

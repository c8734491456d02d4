//! `/v1/kv`: keys read, listed, written and deleted as Consul does it.

use std::collections::BTreeSet;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response, StatusCode};

use crate::access::Need;
use crate::model::{Revision, SessionId};
use crate::net::http::path;
use crate::replica::Topic;
use crate::state::{Command, Key, KeyRange, KvCommand, Outcome, State};

use super::answer::{self, Freshness};
use super::blocking::{self, Class};
use super::call::{Answer, Call, moved, whole};
use super::error::Failure;
use super::guard::Seer;
use super::json;
use super::params::Options;
use super::routes;
use super::rows::KeyJson;
use super::session;
use super::shared::{self, Content, Mark, Question};

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
    let range = KeyRange::one(key.clone());
    let (raw, pretty) = (call.params.has("raw"), call.pretty());
    let question = OneKey { key, range, raw, pretty };
    // Nobody waits for what it may not see.
    question.admit(&call.seer(&call.front.cluster.snapshot())?)?;
    if options.index == 0 {
        // To find out what it came to last would take as long as to find the key.
        let (state, known_leader) =
            blocking::fresh(&call.front.cluster, Class::Keys, options).await?;
        let seer = call.seer(&state)?;
        // Rights may have been withdrawn meanwhile.
        question.admit(&seer)?;
        let content = question.answer(&seer)?;
        let index = question.mark(&state).index;
        let freshness = blocking::freshness(call.front, Class::Keys, options, index, known_leader);
        return Ok(shown(call, options, &question.key, &content, &freshness));
    }
    let key = question.key.clone();
    let make = || -> Result<Box<dyn Question>, Failure> { Ok(Box::new(question)) };
    let told = shared::read(call, Class::Keys, options, call.key(""), make).await?;
    Ok(shown(call, options, &key, &told.evaluated.content, &told.freshness))
}

pub struct OneKey {
    pub key: Key,
    pub range: KeyRange,
    pub raw: bool,
    pub pretty: bool,
}

impl Question for OneKey {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Key(self.key.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        Mark { index: index(state.key_index(&self.key)), found: state.key(&self.key).is_some() }
    }

    fn admit(&self, seer: &Seer<'_>) -> Result<(), Failure> {
        seer.may(Need::Read(&self.range))
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let Some(row) = seer.state.key(&self.key) else {
            return Ok(Content::Nothing { omitted: 0 });
        };
        Ok(match std::str::from_utf8(&self.key) {
            _ if self.raw => Content::Raw(row.value.clone()),
            Ok(key) => Content::json(&[KeyJson { key, row }], self.pretty),
            // JSON cannot name it.
            Err(_) => Content::Nothing { omitted: 1 },
        })
    }
}

fn shown(
    call: &Call<'_>,
    options: &Options,
    key: &[u8],
    content: &Content,
    freshness: &Freshness,
) -> Response<Body> {
    let mut response = match (answer::content(content), content) {
        (Some(response), _) => response,
        (None, Content::Nothing { omitted }) => {
            let mut response = nothing(call, options, key);
            answer::add_omitted(response.headers_mut(), *omitted);
            response
        }
        (None, _) => nothing(call, options, key),
    };
    // Who is sent elsewhere is told nothing else.
    if response.status() != StatusCode::MOVED_PERMANENTLY {
        answer::add_freshness(response.headers_mut(), freshness);
    }
    response
}

/// 404 without a body. Where the path is unclean and nobody waits, the clean one may be meant.
fn nothing(call: &Call<'_>, options: &Options, key: &[u8]) -> Response<Body> {
    if options.index == 0 {
        let whole = [routes::KV.as_bytes(), key].concat();
        if let Some(cleaned) = path::clean(&whole) {
            return moved(&cleaned, call.query, call.method);
        }
    }
    answer::empty(StatusCode::NOT_FOUND)
}

async fn prefix(call: &Call<'_>, options: &Options, prefix: Key, lists: bool) -> Answer {
    let range = KeyRange::prefix(&prefix);
    let separator = call.params.get("separator").or_else(|| call.params.get("seperator"));
    let separator = lists.then(|| separator.unwrap_or_default().as_bytes().to_vec());
    let question = Keys { prefix: prefix.clone(), range, separator, pretty: call.pretty() };
    question.admit(&call.seer(&call.front.cluster.snapshot())?)?;
    let make = || -> Result<Box<dyn Question>, Failure> { Ok(Box::new(question)) };
    let told = shared::read(call, Class::Keys, options, call.key(""), make).await?;
    Ok(shown(call, options, &prefix, &told.evaluated.content, &told.freshness))
}

/// The keys under a prefix.
pub struct Keys {
    pub prefix: Key,
    pub range: KeyRange,
    /// Their names alone are wanted, cut there.
    pub separator: Option<Vec<u8>>,
    pub pretty: bool,
}

impl Question for Keys {
    fn topics(&self) -> Vec<Topic> {
        vec![Topic::Prefix(self.prefix.clone())]
    }

    fn mark(&self, state: &State) -> Mark {
        Mark {
            index: index(state.prefix_index(&self.prefix)),
            found: state.keys_with_prefix(&self.prefix).next().is_some(),
        }
    }

    fn admit(&self, seer: &Seer<'_>) -> Result<(), Failure> {
        seer.may_list(&self.range)
    }

    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure> {
        let mut omitted = 0;
        let body = match &self.separator {
            Some(separator) => self.names(seer, separator, &mut omitted),
            None => self.rows(seer, &mut omitted),
        };
        Ok(match body {
            Some(body) => Content::Whole { body: body.into(), omitted },
            None if omitted == 0 => Content::Nothing { omitted },
            None => Content::Whole { body: Bytes::from_static(b"[]"), omitted },
        })
    }
}

impl Keys {
    /// All rows; none where there are none.
    fn rows(&self, seer: &Seer<'_>, omitted: &mut u64) -> Option<Vec<u8>> {
        let mut rows = Vec::new();
        for (key, row) in seer.keys_with_prefix(&self.prefix) {
            match std::str::from_utf8(key) {
                Ok(key) => rows.push(KeyJson { key, row }),
                Err(_) => *omitted += 1,
            }
        }
        (!rows.is_empty()).then(|| json::to_vec(&rows, self.pretty))
    }

    /// The names, cut behind the first separator that follows the prefix.
    fn names(&self, seer: &Seer<'_>, separator: &[u8], omitted: &mut u64) -> Option<Vec<u8>> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (key, _) in seer.keys_with_prefix(&self.prefix) {
            match std::str::from_utf8(cut(key, self.prefix.len(), separator)) {
                Ok(name) => {
                    names.insert(name);
                }
                Err(_) => *omitted += 1,
            }
        }
        (!names.is_empty() || self.prefix.is_empty()).then(|| json::to_vec(&names, self.pretty))
    }
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
    // They mean nothing here, but nonsense is refused as where they do.
    call.options()?;
    let key = key(&call)?;
    if conflicting(&call, &["cas", "acquire", "release"]) {
        return Err(conflict(&call));
    }
    let flags = call.params.number("flags")?.unwrap_or_default();
    let cas = cas(&call)?;
    let limit = call.front.config.kv_value_limit;
    let value =
        whole(body, limit).await.map_err(|error| Failure::of_body(error, "kv_max_value_size"))?;
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
    // They mean nothing here, but nonsense is refused as where they do.
    call.options()?;
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

fn index(revision: Revision) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

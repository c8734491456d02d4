//! The parameters of a query, and the options that most endpoints share.

use std::borrow::Cow;
use std::time::Duration;

use crate::model::limits;

use super::duration;
use super::error::Failure;
use crate::net::http::path::{self, BadEscape};

/// Name and value of every parameter in order; what is not UTF-8 is replaced.
#[derive(Debug, Clone, Default)]
pub struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    pub fn parse(query: Option<&'a str>) -> Result<Params<'a>, BadEscape> {
        let mut params = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.push((text(name)?, text(value)?));
        }
        Ok(Params(params))
    }

    /// The first value; empty where the parameter has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Cow<'a, str>, Cow<'a, str>)> {
        self.0.iter()
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// The query again, sorted by name, as Go encodes it.
    pub fn sorted(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        let encode = |text: &str| path::encode_query(text.as_bytes());
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        pairs.join("&")
    }

    /// A number of 64 bits; Go's text where it is none. Absent: none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let why = if digits { "value out of range" } else { "invalid syntax" };
        match text.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(Failure::internal(format!("strconv.ParseUint: parsing {text:?}: {why}"))),
        }
    }
}

/// Whether a text says yes, as Go reads it.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

fn text(escaped: &str) -> Result<Cow<'_, str>, BadEscape> {
    Ok(match path::decode(escaped, true)? {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// How fresh an answer the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Default,
    Consistent,
    Stale,
}

/// What the caller asked of a read beside its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub mode: Mode,
    /// A stale answer older than this is not good enough.
    pub max_stale: Option<Duration>,
    /// Wait until the answer's index is above this; 0: do not wait.
    pub index: u64,
    pub wait: Duration,
}

/// Waits of blocking queries that name none.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);

impl Options {
    pub fn parse(
        params: &Params<'_>,
        cache_control: Option<&str>,
        datacenter: &str,
    ) -> Result<Options, Failure> {
        let (mode, max_stale) = consistency(params)?;
        check_cache_control(cache_control)?;
        let (index, wait) = waiting(params)?;
        same_datacenter(params, datacenter)?;
        Ok(Options { mode, max_stale, index, wait })
    }

    /// The same of what an agent knows by itself: no datacenter is asked, no server agrees.
    pub fn of_agent(params: &Params<'_>) -> Result<Options, Failure> {
        let (index, wait) = waiting(params)?;
        Ok(Options { mode: Mode::Default, max_stale: None, index, wait })
    }
}

pub fn consistency(params: &Params<'_>) -> Result<(Mode, Option<Duration>), Failure> {
    let max_stale = match params.get("max_stale").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match duration::parse(text) {
            Some(nanoseconds) => Some(duration::positive(nanoseconds).unwrap_or_default()),
            None => return Err(Failure::bad(format!("Invalid max_stale value {text:?}"))),
        },
    };
    let stale = params.has("stale") || max_stale.is_some();
    match (stale, params.has("consistent")) {
        (true, true) => {
            Err(Failure::bad("Cannot specify ?stale with ?consistent, conflicting semantics."))
        }
        (false, true) if params.has("cached") => {
            Err(Failure::bad("Cannot specify ?cached with ?consistent, conflicting semantics."))
        }
        (false, true) => Ok((Mode::Consistent, None)),
        (true, false) => Ok((Mode::Stale, max_stale)),
        (false, false) => Ok((Mode::Default, None)),
    }
}

/// There is one datacenter: the cluster's own.
pub fn same_datacenter(params: &Params<'_>, own: &str) -> Result<(), Failure> {
    let asked = |name| params.get(name).filter(|asked| !asked.is_empty());
    match asked("datacenter").or_else(|| asked("dc")) {
        Some(asked) if asked != own => Err(Failure::internal("No path to datacenter")),
        _ => Ok(()),
    }
}

/// Namespaces are not part of the free edition, whose interface this is.
pub fn no_namespace(params: &Params<'_>) -> Result<(), Failure> {
    match params.get("ns") {
        None | Some("") => Ok(()),
        Some(_) => Err(Failure::bad(
            "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise \
             feature",
        )),
    }
}

/// Nothing is cached here, memory is the cache; but nonsense is still refused.
fn check_cache_control(header: Option<&str>) -> Result<(), Failure> {
    let directives = header.into_iter().flat_map(|header| header.split(','));
    for directive in directives {
        if let Some((name, value)) = directive.trim().split_once('=')
            && matches!(name.trim(), "max-age" | "stale-if-error")
            && value.trim().parse::<u64>().is_err()
        {
            return Err(Failure::bad("Invalid Cache-Control header."));
        }
    }
    Ok(())
}

fn waiting(params: &Params<'_>) -> Result<(u64, Duration), Failure> {
    let wait = match params.get("wait").filter(|text| !text.is_empty()) {
        None => WAIT_DEFAULT,
        Some(text) => match duration::parse(text).or_else(|| seconds(text)) {
            Some(nanoseconds) => duration::positive(nanoseconds).unwrap_or(WAIT_DEFAULT),
            None => return Err(Failure::bad("Invalid wait time")),
        },
    };
    let wait = wait.min(limits::WAIT_MAX);
    let index = match params.get("index").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| Failure::bad("Invalid index"))?
        }
        Some(_) => return Err(Failure::bad("Invalid index")),
    };
    Ok((index, wait))
}

/// A number without a unit, which some clients send: seconds.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    digits.then(|| duration::parse(&format!("{text}s"))).flatten()
}

/// The `node-meta=key:value` pairs that a node must all have.
pub fn node_meta(params: &Params<'_>) -> Vec<(String, String)> {
    let pairs = params.all("node-meta").map(|pair| pair.split_once(':').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

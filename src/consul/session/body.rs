//! Turns the body of `session/create` into a session.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::consul::decode::{self, DecodeError, Fields};
use crate::consul::duration;
use crate::consul::error::Failure;
use crate::model::{SessionId, limits};
use crate::state::{Behavior, PRESENCE_CHECK, ServiceCheck, SessionDef};

const LOCK_DELAY: i64 = 15_000_000_000;
/// A lock-delay below this is meant in seconds, whatever its unit.
const SECONDS_BELOW: i64 = 1000;
/// How Go calls what it reads into.
const TYPE: &str = "struct { LockDelay interface {}; *structs.Alias }";

/// Without an id yet. What is not said: this agent's node, its presence, 15 s of lock-delay, no
/// TTL. Fields that are not known are nobody's business.
pub fn decode(body: &[u8], node: &str, ttl_min: Duration) -> Result<SessionDef, Failure> {
    // Nothing at all is as good as an empty object, here alone.
    let body = if body.is_empty() { b"{}" } else { body };
    let undecodable = |error: DecodeError| Failure::bad(format!("Request decode failed: {error}"));
    let mut fields = decode::object_of_type(body, "", TYPE).map_err(undecodable)?;
    let Asked { mut def, behavior } = read(&mut fields, node).map_err(undecodable)?;
    if def.node.is_empty() {
        return Err(Failure::internal("Must provide Node"));
    }
    def.behavior = match behavior.as_str() {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => return Err(Failure::internal(format!("Invalid Behavior setting '{other}'"))),
    };
    def.ttl = ttl(&def.ttl_text, ttl_min)?;
    Ok(def)
}

struct Asked {
    def: SessionDef,
    behavior: String,
}

fn read(fields: &mut Fields, node: &str) -> Result<Asked, DecodeError> {
    let named = |names: Vec<String>| names.into_iter().map(Arc::from).collect::<Vec<Arc<str>>>();
    let older = fields.strings_if_given(&["Checks"])?.map(named);
    let newer = fields.strings_if_given(&["NodeChecks"])?.map(named);
    let (checks, node_checks) = checks(older, newer);
    let service_checks = fields.objects_if_given(&["ServiceChecks"], "structs.ServiceCheck")?;
    let service_check = |mut fields: Fields| {
        let (id, namespace) = (fields.string(&["ID"])?, fields.string(&["Namespace"])?);
        Ok(ServiceCheck { id: id.into(), namespace })
    };
    let def = SessionDef {
        id: SessionId::NOBODY,
        name: fields.string(&["Name"])?,
        node: fields.string_if_given(&["Node"])?.map_or_else(|| node.into(), Arc::from),
        behavior: Behavior::default(),
        ttl: None,
        ttl_text: fields.string(&["TTL"])?,
        lock_delay: lock_delay(fields.take(&["LockDelay"]))?,
        node_checks,
        service_checks: service_checks
            .map(|checks| checks.into_iter().map(service_check).collect())
            .transpose()?,
        checks,
    };
    Ok(Asked { def, behavior: fields.text_of(&["Behavior"], "structs.SessionBehavior")? })
}

/// Either list, given and empty, takes the presence of the node out of both. The older one is
/// shown again unless it names no more than that.
fn checks(
    older: Option<Vec<Arc<str>>>,
    newer: Option<Vec<Arc<str>>>,
) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let presence = || vec![Arc::from(PRESENCE_CHECK)];
    match (older, newer) {
        (Some(older), _) if older.is_empty() => (Vec::new(), Vec::new()),
        (_, Some(newer)) if newer.is_empty() => (Vec::new(), Vec::new()),
        (older, newer) => {
            let older = older.filter(|checks| *checks != presence()).unwrap_or_default();
            (older, newer.unwrap_or_else(presence))
        }
    }
}

/// In nanoseconds. What is neither text nor number is none.
fn lock_delay(given: Option<Value>) -> Result<i64, DecodeError> {
    let nanoseconds = match given {
        None => return Ok(LOCK_DELAY),
        Some(Value::String(text)) => {
            duration::parse(&text).ok_or_else(|| DecodeError(duration::complaint(&text)))?
        }
        Some(Value::Number(number)) => number.as_f64().unwrap_or_default() as i64,
        Some(_) => 0,
    };
    Ok(match nanoseconds {
        seconds if seconds < SECONDS_BELOW => seconds.saturating_mul(1_000_000_000),
        nanoseconds => nanoseconds,
    })
}

/// None: it lives for good.
fn ttl(text: &str, least: Duration) -> Result<Option<Duration>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanoseconds = duration::parse(text).ok_or_else(|| {
        let why = duration::complaint(text);
        Failure::internal(format!("Session TTL '{text}' invalid: {why}"))
    })?;
    let most = limits::SESSION_TTL.1;
    match duration::positive(nanoseconds) {
        None if nanoseconds == 0 => Ok(None),
        Some(ttl) if (least..=most).contains(&ttl) => Ok(Some(ttl)),
        _ => Err(Failure::internal(format!(
            "Invalid Session TTL '{nanoseconds}', must be between [{}={}]",
            duration::format(least),
            duration::format(most)
        ))),
    }
}

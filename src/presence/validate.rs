//! What an agent takes as a service, a check or meta data, and how many of each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{CheckDef, CheckKind, ServiceDef, limits, validate_service_name};

use super::PresenceError;
use super::promise::SERVERS;

pub(super) fn service(def: &ServiceDef) -> Result<(), PresenceError> {
    let field = format!("services[{}]", def.id);
    if &*def.id == SERVERS {
        return Err(PresenceError::Reserved(SERVERS.to_owned()));
    }
    if def.id.is_empty() {
        return Err(PresenceError::invalid("services[].id", "must not be empty"));
    }
    validate_service_name(&def.id)
        .and_then(|()| validate_service_name(&def.name))
        .map_err(|error| PresenceError::invalid(&field, error.to_string()))?;
    if def.tags.len() > limits::TAGS {
        return Err(PresenceError::Limit { what: "tags of one service", max: limits::TAGS });
    }
    meta(&format!("{field}.meta"), &def.meta)
}

/// The rules of Consul's meta data.
pub(super) fn meta(field: &str, meta: &BTreeMap<String, String>) -> Result<(), PresenceError> {
    if meta.len() > limits::META_PAIRS {
        return Err(PresenceError::Limit { what: "meta pairs", max: limits::META_PAIRS });
    }
    for (key, value) in meta {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let reason = if key.is_empty() {
            "a key must not be blank".to_owned()
        } else if !key.chars().all(allowed) {
            format!("key {key:?} contains invalid characters")
        } else if key.len() > limits::META_KEY {
            format!("key {key:?} has more than {} bytes", limits::META_KEY)
        } else if value.len() > limits::META_VALUE {
            format!("the value of {key:?} has more than {} bytes", limits::META_VALUE)
        } else {
            continue;
        };
        return Err(PresenceError::invalid(field, reason));
    }
    Ok(())
}

pub(super) fn check(def: &CheckDef) -> Result<(), PresenceError> {
    let field = format!("checks[{}]", def.id);
    let refuse =
        |part: &str, reason: &str| Err(PresenceError::invalid(format!("{field}.{part}"), reason));
    if def.id.is_empty() || def.id.len() > limits::SERVICE_NAME {
        return refuse("id", "must have 1 to 512 bytes");
    }
    if def.output_max > limits::CHECK_OUTPUT {
        return refuse("output_max", &format!("must be at most {}", limits::CHECK_OUTPUT));
    }
    let (interval, timeout) = match &def.kind {
        CheckKind::Ttl { ttl } if ttl.is_zero() => return refuse("ttl", "must be more than 0"),
        CheckKind::Presence => return refuse("kind", "only the agent itself has this check"),
        CheckKind::Probe { interval, timeout, .. } => (*interval, *timeout),
        CheckKind::Ttl { .. }
        | CheckKind::Alias { .. }
        | CheckKind::Static
        | CheckKind::Maintenance => return Ok(()),
    };
    if interval < limits::CHECK_INTERVAL {
        let least = humantime::format_duration(limits::CHECK_INTERVAL);
        return refuse("interval", &format!("must be at least {least}"));
    }
    if timeout == Duration::ZERO {
        return refuse("timeout", "must be more than 0");
    }
    Ok(())
}

pub(super) fn counts(services: usize, checks: usize) -> Result<(), PresenceError> {
    if services > limits::INSTANCES_PER_AGENT {
        return Err(PresenceError::Limit { what: "services", max: limits::INSTANCES_PER_AGENT });
    }
    if checks > limits::CHECKS_PER_AGENT {
        return Err(PresenceError::Limit { what: "checks", max: limits::CHECKS_PER_AGENT });
    }
    Ok(())
}

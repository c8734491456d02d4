//! How a service is written under `services:` and in the file of `remora register -f`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::model::{CheckDef, ServiceDef, Weights, limits, validate_service_name};

use super::check::Check;
use super::load::{self, ConfigError};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    id: Option<String>,
    port: Option<u16>,
    address: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    weights: Option<WrittenWeights>,
    #[serde(default)]
    enable_tag_override: bool,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWeights {
    passing: u16,
    #[serde(default)]
    warning: u16,
}

/// A valid service with its checks; ids and names of checks that were left out are still empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Service {
    pub def: ServiceDef,
    pub checks: Vec<CheckDef>,
}

impl TryFrom<Written> for Service {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        validate_service_name(&written.name).map_err(|error| error.to_string())?;
        let id = written.id.as_deref().unwrap_or(&written.name);
        if id.is_empty() {
            return Err("id: must not be empty".to_owned());
        }
        if written.tags.len() > limits::TAGS {
            return Err(format!("tags: at most {} are allowed", limits::TAGS));
        }
        meta(&written.meta)?;
        let mut def = ServiceDef::new(id, &written.name);
        def.tags = written.tags.iter().map(|tag| tag.as_str().into()).collect();
        def.meta = written.meta;
        def.port = i32::from(written.port.unwrap_or(0));
        def.address = address(written.address.as_deref().unwrap_or(""))?.into();
        def.enable_tag_override = written.enable_tag_override;
        if let Some(weights) = written.weights {
            if weights.passing == 0 {
                return Err("weights.passing: must be greater than 0".to_owned());
            }
            def.weights = Weights { passing: weights.passing, warning: weights.warning };
        }
        let checks = written.checks.into_iter().map(|check| check.0).collect();
        Ok(Service { def, checks })
    }
}

fn address(address: &str) -> Result<&str, String> {
    match address.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() => {
            Err(format!("address: {address} is every address, not one that others can reach"))
        }
        _ => Ok(address),
    }
}

fn meta(meta: &BTreeMap<String, String>) -> Result<(), String> {
    if meta.len() > limits::META_PAIRS {
        return Err(format!("meta: at most {} pairs are allowed", limits::META_PAIRS));
    }
    for (key, value) in meta {
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || key.len() > limits::META_KEY || !key.chars().all(named) {
            return Err(format!(
                "meta: {key:?} is no key: 1 to {} letters, digits, '-' or '_'",
                limits::META_KEY
            ));
        }
        if value.len() > limits::META_VALUE {
            return Err(format!(
                "meta.{key}: the value has {} bytes, at most {} are allowed",
                value.len(),
                limits::META_VALUE
            ));
        }
    }
    Ok(())
}

/// One service from a file of its own, YAML or JSON.
pub fn parse_service(file: &Path, text: &str) -> Result<Service, ConfigError> {
    load::parse_as(file, text)
}

//! How a health check is written under `services[].checks`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::model::{CheckDef, CheckKind, Health};

use super::values::Period;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Exactly one of `http`, `tcp` and `ttl` says what the check does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    name: Option<String>,
    notes: Option<String>,
    http: Option<String>,
    tcp: Option<String>,
    ttl: Option<Period>,
    method: Option<String>,
    headers: Option<BTreeMap<String, Vec<String>>>,
    body: Option<String>,
    tls_skip_verify: Option<bool>,
    interval: Option<Period>,
    timeout: Option<Period>,
    rise: Option<u32>,
    fall: Option<u32>,
    initial: Option<Health>,
    deregister_after: Option<Period>,
}

/// A check; an id or a name that was not written is empty for the owner to fill.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Check(pub CheckDef);

impl TryFrom<Written> for Check {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let kind = kind(&written)?;
        let mut def = CheckDef::new("", "", kind);
        if let Some(id) = &written.id {
            def.id = id.as_str().into();
        }
        if let Some(name) = &written.name {
            def.name = name.as_str().into();
        }
        def.notes = written.notes.unwrap_or_default();
        def.initial = written.initial.unwrap_or(Health::Critical);
        def.rise = written.rise.unwrap_or(1);
        def.fall = written.fall.unwrap_or(1);
        if def.rise == 0 || def.fall == 0 {
            return Err("rise and fall count results: the least is 1".to_owned());
        }
        def.deregister_after = written.deregister_after.map(|period| period.0);
        Ok(Check(def))
    }
}

fn kind(written: &Written) -> Result<CheckKind, String> {
    let interval = written.interval.map_or(INTERVAL, |period| period.0);
    let timeout = written.timeout.map_or(TIMEOUT.min(interval), |period| period.0);
    let probes = written.interval.is_some() || written.timeout.is_some();
    let requests = written.method.is_some()
        || written.headers.is_some()
        || written.body.is_some()
        || written.tls_skip_verify.is_some();
    match (&written.http, &written.tcp, written.ttl) {
        (Some(url), None, None) => {
            let scheme = url.starts_with("http://") || url.starts_with("https://");
            if !scheme || http::Uri::try_from(url.as_str()).is_err() {
                return Err(format!("http: {url:?} is no http:// or https:// URL"));
            }
            Ok(CheckKind::Http {
                url: url.clone(),
                method: written.method.clone().unwrap_or_else(|| "GET".to_owned()),
                headers: written.headers.clone().unwrap_or_default(),
                body: written.body.clone().unwrap_or_default(),
                interval,
                timeout,
                tls_skip_verify: written.tls_skip_verify.unwrap_or(false),
            })
        }
        (None, Some(_), None) if requests => {
            Err("method, headers, body and tls_skip_verify belong to an http check".to_owned())
        }
        (None, Some(address), None) => {
            let (host, port) = address.rsplit_once(':').unwrap_or_default();
            if host.is_empty() || port.parse::<u16>().is_err() {
                return Err(format!("tcp: {address:?} is no host:port"));
            }
            Ok(CheckKind::Tcp { address: address.clone(), interval, timeout })
        }
        (None, None, Some(_)) if probes || requests => {
            Err("a ttl check is reported by the app: it has no interval, timeout or request"
                .to_owned())
        }
        (None, None, Some(ttl)) => Ok(CheckKind::Ttl { ttl: ttl.0 }),
        (None, None, None) => Err("a check needs one of http, tcp and ttl".to_owned()),
        _ => Err("a check takes only one of http, tcp and ttl".to_owned()),
    }
}

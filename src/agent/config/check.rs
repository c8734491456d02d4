//! How a health check is written under `services[].checks`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::model::{CheckDef, CheckKind, Flaps, Health, HttpTarget, Target, TlsTarget, limits};

use super::values::Period;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
const KINDS: &str = "http, tcp, udp, grpc, h2ping, exec, alias and ttl";

/// Exactly one of `KINDS` says what the check does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    name: Option<String>,
    notes: Option<String>,
    http: Option<String>,
    tcp: Option<String>,
    udp: Option<String>,
    grpc: Option<String>,
    h2ping: Option<String>,
    exec: Option<Vec<String>>,
    alias: Option<WrittenAlias>,
    ttl: Option<Period>,
    method: Option<String>,
    headers: Option<BTreeMap<String, Vec<String>>>,
    body: Option<String>,
    redirects: Option<bool>,
    tls: Option<bool>,
    tls_server_name: Option<String>,
    tls_skip_verify: Option<bool>,
    interval: Option<Period>,
    timeout: Option<Period>,
    rise: Option<u32>,
    warn: Option<u32>,
    fall: Option<u32>,
    initial: Option<Health>,
    output_max: Option<usize>,
    deregister_after: Option<Period>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAlias {
    service: Option<String>,
    node: Option<String>,
}

/// A check; an id or a name that was not written is empty for the owner to fill.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Check(pub CheckDef);

impl TryFrom<Written> for Check {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let mut def = CheckDef::new("", "", written.kind()?);
        if let Some(id) = &written.id {
            def.id = id.as_str().into();
        }
        if let Some(name) = &written.name {
            def.name = name.as_str().into();
        }
        def.flaps = written.flaps()?;
        def.notes = written.notes.unwrap_or_default();
        def.initial = written.initial.unwrap_or(Health::Critical);
        def.output_max = written.output_max.unwrap_or(limits::CHECK_OUTPUT);
        if !(1..=limits::CHECK_OUTPUT).contains(&def.output_max) {
            return Err(format!("output_max: must be 1 to {} bytes", limits::CHECK_OUTPUT));
        }
        def.deregister_after = written.deregister_after.map(|period| period.0);
        Ok(Check(def))
    }
}

impl Written {
    fn flaps(&self) -> Result<Flaps, String> {
        let (rise, fall) = (self.rise.unwrap_or(1), self.fall.unwrap_or(1));
        if rise == 0 || fall == 0 || self.warn == Some(0) {
            return Err("rise, warn and fall count results: the least is 1".to_owned());
        }
        if self.warn.is_some_and(|warn| warn > fall) {
            return Err("warn: a check warns before it turns critical: at most fall".to_owned());
        }
        Ok(Flaps { rise, warn: self.warn, fall })
    }

    fn kind(&self) -> Result<CheckKind, String> {
        let kinds = [
            self.http.is_some(),
            self.tcp.is_some(),
            self.udp.is_some(),
            self.grpc.is_some(),
            self.h2ping.is_some(),
            self.exec.is_some(),
            self.alias.is_some(),
            self.ttl.is_some(),
        ];
        match kinds.iter().filter(|given| **given).count() {
            0 => return Err(format!("a check needs one of {KINDS}")),
            1 => {}
            _ => return Err(format!("a check takes only one of {KINDS}")),
        }
        self.belongs()?;
        if let Some(ttl) = self.ttl {
            return Ok(CheckKind::Ttl { ttl: ttl.0 });
        }
        if let Some(WrittenAlias { service, node }) = &self.alias {
            let (service, node) = (service.as_deref(), node.as_deref());
            if service.is_none() && node.is_none() {
                return Err("alias: needs a service (its id), a node, or both".to_owned());
            }
            let (node, service) = (node.map(Into::into), service.map(Into::into));
            return Ok(CheckKind::Alias { node, service });
        }
        let interval = self.interval.map_or(INTERVAL, |period| period.0);
        let timeout = self.timeout.map_or(TIMEOUT.min(interval), |period| period.0);
        Ok(CheckKind::probe(self.target()?, interval, timeout))
    }

    /// Every setting belongs to some kinds, and means nothing to the others.
    fn belongs(&self) -> Result<(), String> {
        let request = self.method.is_some() || self.headers.is_some() || self.body.is_some();
        if (request || self.redirects.is_some()) && self.http.is_none() {
            return Err("method, headers, body and redirects belong to an http check".to_owned());
        }
        if self.tls.is_some() && self.tcp.is_none() && self.grpc.is_none() && self.h2ping.is_none()
        {
            return Err("tls belongs to a tcp, grpc or h2ping check".to_owned());
        }
        let judged = self.tls_server_name.is_some() || self.tls_skip_verify.is_some();
        let speaks_tls = self.http.is_some() || self.tls == Some(true);
        if judged && !speaks_tls {
            return Err("tls_server_name and tls_skip_verify belong to a check over TLS: an http \
                        check, or one with tls: true"
                .to_owned());
        }
        let probes = self.interval.is_some() || self.timeout.is_some();
        if probes && self.ttl.is_some() {
            let why = "a ttl check is reported by the app: it has no interval or timeout";
            return Err(why.to_owned());
        }
        if probes && self.alias.is_some() {
            let why = "an alias follows other checks: it has no interval or timeout";
            return Err(why.to_owned());
        }
        Ok(())
    }

    fn target(&self) -> Result<Target, String> {
        let judged = TlsTarget {
            server_name: self.tls_server_name.clone(),
            skip_verify: self.tls_skip_verify.unwrap_or(false),
        };
        let tls = (self.tls == Some(true)).then(|| judged.clone());
        if let Some(url) = &self.http {
            let scheme = url.starts_with("http://") || url.starts_with("https://");
            if !scheme || http::Uri::try_from(url.as_str()).is_err() {
                return Err(format!("http: {url:?} is no http:// or https:// URL"));
            }
            return Ok(Target::Http(HttpTarget {
                method: self.method.clone().unwrap_or_else(|| "GET".to_owned()),
                headers: self.headers.clone().unwrap_or_default(),
                body: self.body.clone().unwrap_or_default(),
                redirects: self.redirects.unwrap_or(true),
                tls: judged,
                ..HttpTarget::get(url)
            }));
        }
        if let Some(argv) = &self.exec {
            if argv.first().is_none_or(String::is_empty) {
                return Err("exec: needs a program, then its arguments".to_owned());
            }
            return Ok(Target::Exec { argv: argv.clone() });
        }
        if let Some(whole) = &self.grpc {
            let (address, service) = whole.split_once('/').unwrap_or((whole, ""));
            let (address, service) = (place("grpc", address)?, service.to_owned());
            return Ok(Target::Grpc { address, service, tls });
        }
        if let Some(address) = &self.udp {
            return Ok(Target::Udp { address: place("udp", address)? });
        }
        if let Some(address) = &self.h2ping {
            return Ok(Target::H2Ping { address: place("h2ping", address)?, tls });
        }
        let address = place("tcp", self.tcp.as_deref().unwrap_or_default())?;
        Ok(Target::Tcp { address, tls })
    }
}

fn place(key: &str, address: &str) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(format!("{key}: {address:?} is no host:port"));
    }
    Ok(address.to_owned())
}

//! What the `dns` section comes to: where it listens, and how it answers.

use std::net::{IpAddr, SocketAddr};

use crate::dns;

use super::file::{DnsSection, ForwardSetting, SoaSection};
use super::load::ConfigError;
use super::resolve::guarded;
use super::values::{Listen, Span};

pub(super) fn dns(
    section: DnsSection,
    flags: &[Listen],
    datacenter: String,
) -> Result<dns::Config, ConfigError> {
    let default = dns::Config::default();
    let written = if flags.is_empty() { section.listen.as_deref() } else { Some(flags) };
    let listen = match written {
        Some(written) => written.iter().map(|listen| listen.0).collect(),
        None => default.listen.clone(),
    };
    for (i, addr) in listen.iter().enumerate() {
        guarded(
            &format!("dns.listen[{i}]"),
            *addr,
            section.insecure,
            "`dns.insecure: true` allows it",
        )?;
    }
    let workers = section.workers.unwrap_or(default.workers);
    if !(1..=64).contains(&workers) {
        return Err(ConfigError::setting("dns.workers", "from 1 to 64 are allowed"));
    }
    let weight_scale = section.weight_scale.unwrap_or(default.weight_scale);
    if weight_scale == 0 {
        return Err(ConfigError::setting("dns.weight_scale", "from 1 to 65535 are allowed"));
    }
    let ttl = section.ttl;
    Ok(dns::Config {
        listen,
        insecure: section.insecure,
        domains: section.domains.unwrap_or_else(|| default.domains.clone()),
        datacenter,
        node_ttl: ttl.node.map_or(default.node_ttl, |span| span.0),
        service_ttl: ttl.services.into_iter().map(|(name, span)| (name, span.0)).collect(),
        only_passing: section.only_passing,
        a_record_limit: section.a_record_limit,
        udp_answer_limit: section.udp_answer_limit,
        forward: forward(section.forward)?,
        soa: soa(section.soa, default.soa),
        weight_scale,
        max_stale: section.max_stale.map(|span| span.0),
        rate_limit: section.rate_limit.unwrap_or(default.rate_limit),
        workers,
    })
}

fn soa(section: SoaSection, default: dns::Soa) -> dns::Soa {
    let seconds = |span: Option<Span>, default| span.map_or(default, |span| dns::seconds(span.0));
    dns::Soa {
        refresh: seconds(section.refresh, default.refresh),
        retry: seconds(section.retry, default.retry),
        expire: seconds(section.expire, default.expire),
        min_ttl: seconds(section.min_ttl, default.min_ttl),
    }
}

fn forward(setting: Option<ForwardSetting>) -> Result<dns::Forward, ConfigError> {
    let invalid = |what: &str| {
        let message = format!("{what:?} is neither `system`, `off` nor a list of IP addresses");
        ConfigError::setting("dns.forward", message)
    };
    let servers = match setting {
        None => return Ok(dns::Forward::Off),
        Some(ForwardSetting::Switch(false)) => return Ok(dns::Forward::Off),
        Some(ForwardSetting::Switch(true)) => return Err(invalid("on")),
        Some(ForwardSetting::Word(word)) if word == "off" => return Ok(dns::Forward::Off),
        Some(ForwardSetting::Word(word)) if word == "system" => return Ok(dns::Forward::System),
        Some(ForwardSetting::Word(word)) => return Err(invalid(&word)),
        Some(ForwardSetting::Servers(servers)) => servers,
    };
    let mut addresses = Vec::new();
    for server in &servers {
        let addr = server.parse::<SocketAddr>().ok();
        let ip = || server.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
        addresses.push(addr.or_else(ip).ok_or_else(|| invalid(server))?);
    }
    Ok(dns::Forward::Servers(addresses))
}

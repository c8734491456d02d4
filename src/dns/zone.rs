//! What this agent's names are under: domains, datacenter, times to live, limits of answers.

use std::time::Duration;

use super::wire::WireName;

/// The settings that shape an answer, checked and in wire form.
#[derive(Debug, Clone)]
pub struct Zone {
    pub domains: Vec<Domain>,
    pub datacenter: String,
    pub node_ttl: u32,
    pub service_ttl: ServiceTtl,
    /// Leave out instances whose health is warning.
    pub only_passing: bool,
    /// Most A and AAAA records in an answer.
    pub a_record_limit: Option<usize>,
    /// Most records in an answer over UDP: a wanted subset, so without TC.
    pub udp_answer_limit: Option<usize>,
    /// Names outside are forwarded: shown as RA.
    pub recursion: bool,
    pub soa: Soa,
    /// Weights in SRV records are so many times those of the instances.
    pub weight_scale: u16,
}

/// What the SOA says of the zone, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    /// How long a resolver may keep that there is no such name or record.
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Soa {
        Soa { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 }
    }
}

/// A domain that is answered for, for example `consul`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    pub name: WireName,
    pub labels: usize,
}

impl Domain {
    pub fn parse(name: &str) -> Option<Domain> {
        let wire = WireName::from_dotted(name)?;
        Some(Domain { name: wire, labels: name.trim_end_matches('.').split('.').count() })
    }
}

/// Times to live by service: an exact name, else the longest `prefix*`, else 0.
#[derive(Debug, Clone, Default)]
pub struct ServiceTtl {
    exact: Vec<(String, u32)>,
    /// Longest first.
    prefixes: Vec<(String, u32)>,
}

impl ServiceTtl {
    pub fn new(patterns: &[(String, Duration)]) -> ServiceTtl {
        let mut ttl = ServiceTtl::default();
        for (pattern, duration) in patterns {
            let pattern = pattern.to_lowercase();
            match pattern.strip_suffix('*') {
                Some(prefix) => ttl.prefixes.push((prefix.to_owned(), seconds(*duration))),
                None => ttl.exact.push((pattern, seconds(*duration))),
            }
        }
        ttl.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        ttl
    }

    /// `service` is given in lower case.
    pub fn of(&self, service: &str) -> u32 {
        let exact = self.exact.iter().find(|(name, _)| name == service);
        let prefix = || self.prefixes.iter().find(|(prefix, _)| service.starts_with(prefix));
        exact.or_else(prefix).map_or(0, |(_, ttl)| *ttl)
    }
}

/// A TTL is a 31-bit number of seconds (RFC 2181).
pub fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

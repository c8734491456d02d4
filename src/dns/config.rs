//! What can be set about DNS, and what of it makes no sense.

use std::net::SocketAddr;
use std::time::Duration;

use crate::net::is_loopback;

use super::Error;
use super::zone::{Domain, ServiceTtl, Soa, Zone, seconds};

/// Where names that are not ours are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Forward {
    /// Nowhere: REFUSED.
    #[default]
    Off,
    /// The servers of `/etc/resolv.conf`.
    System,
    Servers(Vec<SocketAddr>),
}

#[derive(Debug, Clone)]
pub struct Config {
    /// UDP and TCP; port 0 takes the same free port for both.
    pub listen: Vec<SocketAddr>,
    /// Listen beyond loopback although DNS is in clear.
    pub insecure: bool,
    /// For example `remora` and `consul`; the first is given where none was asked under.
    pub domains: Vec<String>,
    pub datacenter: String,
    pub node_ttl: Duration,
    /// By service name, `prefix*` or `*`; none: 0.
    pub service_ttl: Vec<(String, Duration)>,
    /// Leave out instances whose health is warning.
    pub only_passing: bool,
    /// Most A and AAAA records in an answer.
    pub a_record_limit: Option<usize>,
    /// Most records in an answer over UDP.
    pub udp_answer_limit: Option<usize>,
    pub forward: Forward,
    pub soa: Soa,
    /// Weights in SRV records are so many times those of the instances.
    pub weight_scale: u16,
    /// Without a cluster for longer, names of ours are SERVFAIL; none: never.
    pub max_stale: Option<Duration>,
    /// Queries a second over UDP from one source beyond loopback; 0: any number.
    pub rate_limit: u32,
    /// Tasks that answer UDP, for each address.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8600))],
            insecure: false,
            domains: vec!["remora".to_owned(), "consul".to_owned()],
            datacenter: "dc1".to_owned(),
            node_ttl: Duration::ZERO,
            service_ttl: Vec::new(),
            only_passing: false,
            a_record_limit: None,
            udp_answer_limit: None,
            forward: Forward::Off,
            soa: Soa::default(),
            weight_scale: 1,
            max_stale: None,
            rate_limit: 1000,
            workers: 1,
        }
    }
}

impl Config {
    /// The settings that shape answers, in the form in which they are used.
    pub fn zone(&self) -> Result<Zone, Error> {
        let parse = |name: &String| {
            Domain::parse(name).ok_or_else(|| Error::Domain { domain: name.clone() })
        };
        if self.domains.is_empty() {
            return Err(Error::NoDomain);
        }
        Ok(Zone {
            domains: self.domains.iter().map(parse).collect::<Result<_, _>>()?,
            datacenter: self.datacenter.clone(),
            node_ttl: seconds(self.node_ttl),
            service_ttl: ServiceTtl::new(&self.service_ttl),
            only_passing: self.only_passing,
            a_record_limit: self.a_record_limit.filter(|limit| *limit != 0),
            udp_answer_limit: self.udp_answer_limit.filter(|limit| *limit != 0),
            recursion: self.forward != Forward::Off,
            soa: self.soa,
            weight_scale: self.weight_scale.max(1),
        })
    }

    /// An error if an address reaches beyond this host and that was not asked for.
    pub(super) fn guard(&self) -> Result<(), Error> {
        match self.listen.iter().find(|addr| !is_loopback(**addr)) {
            Some(addr) if !self.insecure => Err(Error::Insecure { addr: *addr }),
            _ => Ok(()),
        }
    }
}

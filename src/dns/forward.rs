//! Has others tell about names that are not ours, and remembers what they said.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join_all;
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::limits;

use super::answer::{Channel, limit};
use super::config::Forward;
use super::question;
use super::reply::{Unfinished, told};

#[derive(Clone)]
pub struct Forwarder {
    /// None: there is nobody to ask.
    resolver: Option<TokioResolver>,
    places: Arc<Semaphore>,
}

impl Forwarder {
    /// `own` are our listening addresses: a question is never handed to ourselves.
    pub fn new(forward: &Forward, own: &[SocketAddr]) -> Result<Forwarder, NetError> {
        let mut servers = match forward {
            Forward::Off => Vec::new(),
            Forward::Servers(servers) => servers.clone(),
            Forward::System => system_servers(),
        };
        servers.retain(|server| !own.iter().any(|own| is_same(*server, *own)));
        servers.dedup();
        let resolver = if servers.is_empty() { None } else { Some(resolver(&servers)?) };
        let places = Arc::new(Semaphore::new(limits::DNS_FORWARDS));
        Ok(Forwarder { resolver, places })
    }

    /// Nobody can be asked.
    pub fn is_empty(&self) -> bool {
        self.resolver.is_none()
    }

    /// A place among the questions under way, if one is free.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// What others say, or SERVFAIL where none can tell; the `refusal` where nobody can be asked.
    pub async fn tell(&self, packet: &[u8], channel: Channel, refusal: Vec<u8>) -> Vec<u8> {
        let Some(resolver) = &self.resolver else { return refusal };
        let Ok(query) = question::parse(packet) else { return refusal };
        let Ok(name) = Name::from_bytes(query.question.name) else { return refusal };
        let looked = resolver.lookup(name, RecordType::from(query.question.qtype));
        let result = timeout(limits::DNS_FORWARD, looked).await;
        told(&query, limit(&query, channel), result.unwrap_or(Err(NetError::Timeout)))
    }

    /// Our own answer with the addresses of hosts elsewhere that it names, as far as they can be
    /// found out and fit.
    pub async fn complete(&self, packet: &[u8], channel: Channel, answer: Vec<u8>) -> Vec<u8> {
        let (Some(resolver), Ok(query)) = (&self.resolver, question::parse(packet)) else {
            return answer;
        };
        let Some(mut unfinished) = Unfinished::read(&answer) else { return answer };
        let types = Unfinished::types(query.question.qtype);
        let names = unfinished.missing().into_iter().take(limits::DNS_ALIASES);
        let asked = names.flat_map(|name| types.iter().map(move |kind| (name.clone(), *kind)));
        let looked = join_all(asked.map(|(name, kind)| resolver.lookup(name, kind)));
        let Ok(results) = timeout(limits::DNS_FORWARD, looked).await else { return answer };
        for lookup in results.into_iter().flatten() {
            unfinished.add(lookup.answers());
        }
        unfinished.finish(limit(&query, channel)).unwrap_or(answer)
    }
}

/// Asks the servers that were fastest of late first, over TCP what was cut over UDP.
fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let server = |addr: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = addr.port());
        NameServerConfig::new(addr.ip(), true, connections)
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut options = ResolverOpts::default();
    options.timeout = limits::DNS_FORWARD_TIMEOUT;
    options.attempts = 1;
    options.cache_size = limits::DNS_FORWARD_CACHE;
    options.max_active_requests = limits::DNS_FORWARDS;
    options.try_tcp_on_error = true;
    options.edns_payload_len = 1232;
    options.use_hosts_file = ResolveHosts::Never;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

/// A container need not have `/etc/resolv.conf`: then there are none.
fn system_servers() -> Vec<SocketAddr> {
    match read_system_conf() {
        Ok((config, _)) => {
            config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "dns.forward: cannot read the system's servers");
            Vec::new()
        }
    }
}

fn is_same(server: SocketAddr, own: SocketAddr) -> bool {
    let any = own.ip().is_unspecified() && server.ip().is_loopback();
    server.port() == own.port() && (any || server.ip() == own.ip())
}

//! The DNS front: a question becomes a message made from the state; other names are handed on.
//!
//! `answer` and what it is made of are pure, and so are `reply`, `rates` and `staleness`' verdict;
//! `udp`, `tcp` and `forward` wait.

mod aliases;
mod answer;
mod answers;
mod config;
mod counts;
mod draw;
mod forward;
mod inbox;
mod lookup;
mod memo;
mod message;
mod outbox;
mod question;
mod rates;
mod reply;
mod services;
mod staleness;
mod target;
mod tcp;
mod txt;
mod udp;
mod wire;
mod zone;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::net::NetError;
use tokio::net::{TcpListener, UdpSocket};

use crate::cluster::Cluster;
use crate::lifecycle::{Level, Life};
use crate::net::{BindError, bind_tcp, bind_udp};
use crate::state::State;
use crate::telemetry::Metrics;

pub use answer::{Answerer, Channel, Knowledge, Verdict};
pub use config::{Config, Forward};
pub use wire::Rcode;
pub use zone::{Soa, Zone, seconds};

use counts::Counts;
use forward::Forwarder;
use staleness::{Freshness, Staleness};

const LISTEN: &str = "dns.listen";
/// A free TCP port may be taken for UDP: so many are tried.
const PORTS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("dns.domains: {domain:?} is no domain: labels of 1 to 63 bytes with dots between")]
    Domain { domain: String },
    #[error("dns.domains: at least one domain is needed")]
    NoDomain,
    #[error("dns.forward: {0}")]
    Forward(#[from] NetError),
    #[error("dns.listen: {addr} is beyond loopback, and DNS is in clear: say dns.insecure: true")]
    Insecure { addr: SocketAddr },
}

/// What runs: where it listens.
#[derive(Debug, Clone)]
pub struct Handle {
    /// In the order of `Config::listen`, for UDP and TCP.
    pub addrs: Vec<SocketAddr>,
}

/// What every worker and connection shares.
#[derive(Clone)]
struct Front {
    zone: Arc<Zone>,
    cluster: Cluster,
    forwarder: Forwarder,
    counts: Counts,
    staleness: Staleness,
    /// Queries a second over UDP from one source beyond loopback.
    rate_limit: u32,
}

impl Front {
    /// What this agent has, and how far it can be relied on.
    fn knowledge<'s>(&self, state: &'s State) -> Knowledge<'s> {
        match self.staleness.now(|| self.cluster.standing().synced) {
            Freshness::Nothing => Knowledge::Nothing,
            Freshness::Current => Knowledge::Current(state),
            Freshness::Stale => Knowledge::Stale(state),
            Freshness::Expired => Knowledge::Expired,
        }
    }
}

/// Binds every address for UDP and TCP, then answers until the shutdown.
pub async fn start(
    config: Config,
    cluster: Cluster,
    life: Life,
    metrics: &Metrics,
) -> Result<Handle, Error> {
    let zone = Arc::new(config.zone()?);
    config.guard()?;
    let workers = config.workers.max(1);
    let mut listeners = Vec::new();
    for addr in &config.listen {
        listeners.push(bind(*addr, workers)?);
    }
    let addrs: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let forwarder = Forwarder::new(&config.forward, &addrs)?;
    if config.forward != Forward::Off && forwarder.is_empty() {
        let text = "there is no server to forward other names to: they are refused";
        life.board.set("dns/forward", Level::Warning, text);
    }
    let front = Front {
        zone,
        cluster,
        forwarder,
        counts: Counts::register(metrics),
        staleness: Staleness::new(config.max_stale),
        rate_limit: config.rate_limit,
    };
    for Listener { tcp, udp, .. } in listeners {
        life.tasks.spawn("dns tcp", tcp::serve(front.clone(), tcp, life.clone()));
        for socket in udp {
            life.tasks.spawn("dns udp", udp::serve(front.clone(), socket, life.clone()));
        }
    }
    let Front { cluster, counts, staleness, .. } = front;
    life.tasks.spawn("dns staleness", staleness::watch(staleness, cluster, counts, life.clone()));
    Ok(Handle { addrs })
}

struct Listener {
    addr: SocketAddr,
    tcp: TcpListener,
    udp: Vec<UdpSocket>,
}

/// TCP comes first: it tells whether another program has the port, which shared UDP would not.
fn bind(addr: SocketAddr, workers: usize) -> Result<Listener, Error> {
    let mut tries = if addr.port() == 0 { PORTS } else { 1 };
    loop {
        let tcp = bind_tcp(LISTEN, addr)?;
        let bound = tcp.local_addr().unwrap_or(addr);
        let udp: Result<Vec<UdpSocket>, BindError> =
            (0..workers).map(|_| bind_udp(LISTEN, bound, workers > 1)).collect();
        tries -= 1;
        match udp {
            Ok(udp) => return Ok(Listener { addr: bound, tcp, udp }),
            Err(error) if tries == 0 => return Err(error.into()),
            Err(_) => {}
        }
    }
}

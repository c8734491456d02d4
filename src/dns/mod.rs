//! The DNS front: a question becomes a message made from the state; other names are handed on.
//!
//! `answer` and what it is made of are pure; `udp`, `tcp` and `forward` wait.

mod answer;
mod answers;
mod config;
mod counts;
mod forward;
mod lookup;
mod memo;
mod message;
mod outbox;
mod question;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};

use crate::cluster::Cluster;
use crate::lifecycle::{Level, Life};
use crate::net::{BindError, bind_tcp, bind_udp};
use crate::state::State;
use crate::telemetry::Metrics;

pub use answer::{Answerer, Channel, Verdict};
pub use config::{Config, Forward};
pub use wire::Rcode;
pub use zone::Zone;

use counts::Counts;
use forward::Forwarder;

const LISTEN: &str = "dns.listen";
/// How often the staleness is looked at.
const STALENESS: Duration = Duration::from_secs(1);
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
    /// Once it has the state, it keeps it.
    synced: Arc<AtomicBool>,
}

impl Front {
    /// What this agent has, however old; none until it has received the state once.
    fn state(&self) -> Option<Arc<State>> {
        if !self.synced.load(Ordering::Relaxed) {
            if !self.cluster.standing().synced {
                return None;
            }
            self.synced.store(true, Ordering::Relaxed);
        }
        Some(self.cluster.snapshot())
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
    let forwarder = Forwarder::new(&config.forward, &addrs);
    if config.forward != Forward::Off && forwarder.is_empty() {
        let text = "there is no server to forward other names to: they are refused";
        life.board.set("dns/forward", Level::Warning, text);
    }
    let (counts, synced) = (Counts::register(metrics), Arc::default());
    let front = Front { zone, cluster, forwarder, counts, synced };
    for Listener { tcp, udp, .. } in listeners {
        life.tasks.spawn("dns tcp", tcp::serve(front.clone(), tcp, life.clone()));
        for socket in udp {
            life.tasks.spawn("dns udp", udp::serve(front.clone(), socket, life.clone()));
        }
    }
    life.tasks.spawn("dns staleness", watch_staleness(front, life.clone()));
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

async fn watch_staleness(front: Front, life: Life) {
    let look = async {
        let mut ticks = tokio::time::interval(STALENESS);
        loop {
            ticks.tick().await;
            let standing = front.cluster.standing();
            front.counts.staleness.set(standing.last_contact.as_secs_f64());
        }
    };
    let _: Option<()> = life.shutdown.or(look).await;
}

//! Local listeners in front of services: listener, set, balance, connect, forward, observe.
//!
//! Each upstream has a set of healthy instances that is swapped whole when the state changes. When
//! the cluster is gone the last set goes on serving. When the cluster says that no instance is
//! healthy the set is empty, and clients get 503 or a reset: a set of instances known to be dead is
//! no better, and hides the reason.

mod activity;
mod config;
mod connect;
mod error;
mod failure;
mod follow;
mod headers;
mod http1;
mod lane;
mod listener;
mod meters;
mod pool;
mod relay;
mod retry;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::net;
use crate::telemetry::Metrics;

pub use config::{Config, Protocol, Timeouts, Upstream};
pub use error::Error;

/// What runs.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<SocketAddr>,
}

impl Handle {
    /// The bound address of each upstream, in the order of the config.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Binds all listeners, then serves them until the shutdown.
pub async fn start(
    config: Config,
    cluster: Cluster,
    life: Life,
    metrics: &Metrics,
) -> Result<Handle, Error> {
    let meters = meters::Meters::new(metrics);
    let mut bound = Vec::new();
    let mut addresses = Vec::new();
    for (position, upstream) in config.upstreams.into_iter().enumerate() {
        let setting = format!("upstreams[{position}].listen");
        let addr = upstream.listen;
        if !net::is_loopback(addr) && !upstream.insecure {
            return Err(Error::Insecure { setting, addr });
        }
        let listener = net::bind_tcp(&setting, addr)?;
        addresses.push(listener.local_addr().unwrap_or(addr));
        let meter = meters.upstream(&upstream.label());
        bound.push((listener, Arc::new(upstream::Upstream::new(upstream, meter))));
    }
    for (listener, upstream) in bound {
        let follower = follow::Follower::new(upstream.clone(), cluster.clone(), life.clone());
        life.tasks.spawn("proxy follower", follower.run());
        let listening = listener::listen(listener, upstream, life.clone());
        life.tasks.spawn("proxy listener", listening);
    }
    Ok(Handle { addresses })
}

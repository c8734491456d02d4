//! Builds the agent bottom-up from its config, starts it, and stops it in reverse.

pub mod config;
mod exposed;
mod listeners;
mod scratch;
mod signals;
mod steering;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use tokio::sync::mpsc;

use crate::cluster::{self, Cluster};
use crate::lifecycle::{Gate, Given, Life, Orders};
use crate::net::http::Requests;
use crate::presence::{self, Presence};
use crate::telemetry::{Logs, Metrics};
use crate::web::Listener;
use crate::{consul, dns, etcd, files, net, proxy, web};

use config::Resolved;
use listeners::Listeners;

pub use scratch::Scratch;
pub use steering::Source;

/// How long a stop may take in all before the process leaves anyway.
const DRAIN: Duration = Duration::from_secs(10);
const CLOSE: Duration = Duration::from_secs(5);

/// A running agent. `stop` ends it in order; dropping it ends it like a crash.
pub struct Agent {
    /// What the cluster runs on: ends last.
    core: Life,
    /// What clients talk to: ends first.
    fronts: Life,
    cluster: Cluster,
    presence: Presence,
    listeners: Vec<Listener>,
    /// What it is told to do by its clients.
    orders: mpsc::Receiver<Given>,
    /// There is nothing to withdraw any more.
    left: bool,
}

/// Runs the agent's future on a runtime of its own.
pub fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Ten thousand connections need ten thousand descriptors; the soft limit is often 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

impl Agent {
    /// Bottom-up: the cluster's door, the listeners, then the announcement.
    pub async fn start(resolved: Resolved) -> Result<Agent> {
        let core = Life::default();
        let fronts = Life {
            board: core.board.clone(),
            gates: core.gates.clone(),
            shutdown: core.shutdown.child(),
            ..Life::default()
        };
        let metrics = Metrics::default();
        let peer = resolved.cluster.advertise;
        let http = Listeners::bind(resolved.http, &metrics)?;

        let cluster = cluster::start(resolved.cluster, core.clone(), &metrics).await?;
        let presence =
            presence::start(resolved.presence, cluster.clone(), fronts.clone(), &metrics)?;
        let dns = dns::start(resolved.dns, cluster.clone(), fronts.clone(), &metrics).await?;
        let upstreams =
            proxy::start(resolved.proxy, cluster.clone(), fronts.clone(), &metrics).await?;
        files::start(resolved.files, &cluster, &fronts, &metrics)?;

        let mut listeners: Vec<Listener> = http.shown().collect();
        listeners.extend(dns.addrs.iter().map(|addr| in_clear("dns", *addr)));
        for (i, addr) in upstreams.addresses().iter().enumerate() {
            listeners.push(in_clear(&format!("upstreams[{i}]"), *addr));
        }
        exposed::announce(&listeners, &core.board, &metrics);
        listeners.push(Listener::new(web::CLUSTER, peer.to_string(), false));

        let requests = Requests::new(&metrics);
        let counts = etcd::meter(&metrics, cluster.clone());
        let pages = web::Parts {
            datacenter: resolved.consul.datacenter.clone(),
            cluster: cluster.clone(),
            life: fronts.clone(),
            metrics: metrics.clone(),
            requests: requests.clone(),
            listeners: listeners.clone(),
        };
        let (keys, rpc) =
            etcd::fronts(resolved.etcd, cluster.clone(), requests.clone(), counts, fronts.clone());
        let (orders, taken) = Orders::new();
        let mut consul = resolved.consul;
        consul.shown.http = http.shown().map(|listener| listener.address).collect();
        consul.shown.dns.clone_from(&dns.addrs);
        let handles = consul::Handles {
            cluster: cluster.clone(),
            presence: presence.clone(),
            requests,
            metrics,
            logs: Logs::of_this_process(),
            orders,
            shutdown: fronts.shutdown.clone(),
        };
        let router = consul::router(consul, handles).merge(keys).merge(web::router(pages));
        http.serve(&rpc.before(router), &fronts);
        fronts.gates.open(Gate::Listening);
        tracing::info!(node = %cluster.name(), "the agent listens");
        Ok(Agent { core, fronts, cluster, presence, listeners, orders: taken, left: false })
    }

    /// What this agent listens on, by purpose.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Returns once every gate is open: listening, synced, registered, rendered.
    pub async fn ready(&self) {
        for gate in Gate::ALL {
            self.core.gates.wait(gate).await;
        }
    }

    /// Withdraws first, so that nobody is sent here any more; then drains, then closes in reverse.
    pub async fn stop(self) {
        // Without a place there is nobody to tell.
        if !self.left
            && !self.core.shutdown.has_begun()
            && let Err(error) = self.presence.withdraw().await
        {
            tracing::warn!(%error, "could not withdraw: the others will notice by the heartbeat");
        }
        self.fronts.shutdown.begin();
        if !self.fronts.tasks.join(DRAIN).await {
            tracing::warn!("some requests did not end in {DRAIN:?} and are cut off");
        }
        self.core.shutdown.begin();
        if !self.core.tasks.join(CLOSE).await {
            tracing::warn!("the cluster's tasks did not end in {CLOSE:?}");
        }
        tracing::info!("stopped");
    }
}

/// A listener of something that has no TLS.
fn in_clear(name: &str, addr: SocketAddr) -> Listener {
    Listener::new(name, addr.to_string(), !net::is_loopback(addr))
}

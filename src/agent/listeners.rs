//! The HTTP listeners: bound before anything starts, served once everything stands.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use tokio::net::TcpListener;

use crate::lifecycle::{Level, Life};
use crate::net;
use crate::net::http::{HostRules, Limits, serve};

use super::config::HttpConfig;

pub(super) struct Listeners {
    bound: Vec<(TcpListener, SocketAddr)>,
    hosts: Vec<String>,
}

impl Listeners {
    pub(super) fn bind(config: HttpConfig, life: &Life) -> Result<Listeners> {
        let mut bound = Vec::new();
        for addr in config.listen {
            let listener = net::bind_tcp("http.listen", addr)?;
            let addr = listener.local_addr()?;
            if !net::is_loopback(addr) {
                let text = "plain HTTP beyond loopback (http.insecure)";
                tracing::warn!(%addr, "{text}");
                life.board.set(&format!("http/{addr}"), Level::Warning, text);
            }
            bound.push((listener, addr));
        }
        Ok(Listeners { bound, hosts: config.hosts })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(_, addr)| *addr).collect()
    }

    /// Serves the router on every listener until the fronts are told to stop.
    pub(super) fn serve(self, router: &Router, life: &Life) {
        for (listener, addr) in self.bound {
            let rules = HostRules {
                loopback: net::is_loopback(addr),
                names: self.hosts.clone(),
                origins: Vec::new(),
            };
            let serving = serve(listener, router.clone(), rules, Limits::default(), life.clone());
            life.tasks.spawn("http", serving);
        }
    }
}

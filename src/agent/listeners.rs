//! The HTTP listeners: bound before anything starts, served once everything stands.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};

use crate::etcd::Switch;
use crate::lifecycle::Life;
use crate::net;
use crate::net::http::{Door, HostRules, Limits, ServerTls, UnixDoor, serve};
use crate::telemetry::Metrics;
use crate::web::Listener;

use super::config::{HttpConfig, HttpListen};

const SETTING: &str = "http.listen";

pub(super) struct Listeners {
    bound: Vec<Bound>,
    tls: Option<ServerTls>,
    hosts: Vec<String>,
}

struct Bound {
    door: Door,
    /// How it is shown.
    listener: Listener,
    /// Only this host reaches it, and a web page could.
    loopback: bool,
}

impl Listeners {
    pub(super) fn bind(config: HttpConfig, metrics: &Metrics) -> Result<Listeners> {
        let tls = config.tls.map(|files| ServerTls::open(files, metrics)).transpose()?;
        let mut bound = Vec::new();
        for listen in config.listen {
            bound.push(match listen {
                HttpListen::Plain(addr) => plain(addr)?,
                HttpListen::Secure(addr) => {
                    let tls = tls.clone().ok_or_else(|| anyhow!("{SETTING}: needs http.tls"))?;
                    secure(addr, tls)?
                }
                HttpListen::Unix(path) => {
                    let listener = net::bind_unix(SETTING, &path)?;
                    let address = format!("unix:{}", path.display());
                    Bound {
                        door: Door::Unix(UnixDoor::new(listener, path)),
                        listener: Listener::new("http", address, false),
                        loopback: false,
                    }
                }
            });
        }
        Ok(Listeners { bound, tls, hosts: config.hosts })
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = Listener> {
        self.bound.iter().map(|bound| bound.listener.clone())
    }

    /// Serves the fronts on every listener until the fronts are told to stop.
    pub(super) fn serve(self, fronts: &Switch, life: &Life) {
        if let Some(tls) = self.tls {
            life.tasks.spawn("http tls", tls.follow(life.clone()));
        }
        for Bound { door, loopback, .. } in self.bound {
            let rules = HostRules { loopback, names: self.hosts.clone(), origins: Vec::new() };
            let serving = serve(door, fronts.clone(), rules, Limits::default(), life.clone());
            life.tasks.spawn("http", serving);
        }
    }
}

fn plain(addr: SocketAddr) -> Result<Bound> {
    let listener = net::bind_tcp(SETTING, addr)?;
    let addr = listener.local_addr()?;
    Ok(Bound {
        door: Door::Plain(listener),
        listener: Listener::new("http", addr.to_string(), !net::is_loopback(addr)),
        loopback: net::is_loopback(addr),
    })
}

fn secure(addr: SocketAddr, tls: ServerTls) -> Result<Bound> {
    let listener = net::bind_tcp(SETTING, addr)?;
    let addr = listener.local_addr()?;
    Ok(Bound {
        door: Door::Secure(listener, tls),
        listener: Listener::new("http", format!("https://{addr}"), false),
        loopback: net::is_loopback(addr),
    })
}

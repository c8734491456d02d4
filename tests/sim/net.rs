//! The network between hosts: delays, cuts in one or both directions, connections torn down.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use remora::net::{Arrivals, BindError, Connection, Fabric, ResolveError};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::pipe::{End, Pipe};

/// How long a connection that nobody answers is tried for.
const CONNECT: Duration = Duration::from_secs(2);

pub fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, u8::try_from(host + 1).unwrap()], 8300))
}

struct Traffic {
    random: SmallRng,
    /// From and to: nothing gets through.
    cut: BTreeSet<(usize, usize)>,
    slow: BTreeMap<(usize, usize), Duration>,
    /// Hosts without power: nobody answers there. (A dead process refuses connections.)
    dark: BTreeSet<usize>,
}

/// What every pipe asks before bytes move.
#[derive(Clone)]
pub struct Roads(Arc<Mutex<Traffic>>);

impl Roads {
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.0.lock().unwrap().cut.contains(&(from, to))
    }

    fn is_dark(&self, host: usize) -> bool {
        self.0.lock().unwrap().dark.contains(&host)
    }

    pub fn delay(&self, from: usize, to: usize) -> Duration {
        let mut traffic = self.0.lock().unwrap();
        let jitter = Duration::from_micros(traffic.random.random_range(200..2500));
        traffic.slow.get(&(from, to)).copied().unwrap_or_default() + jitter
    }
}

type Arriving = (Connection, SocketAddr);

#[derive(Default)]
struct Ports {
    listening: BTreeMap<SocketAddr, mpsc::UnboundedSender<Arriving>>,
    pipes: Vec<Pipe>,
    names: BTreeMap<String, Vec<SocketAddr>>,
}

#[derive(Clone)]
pub struct Net {
    pub roads: Roads,
    ports: Arc<Mutex<Ports>>,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        let traffic = Traffic {
            random: SmallRng::seed_from_u64(seed),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            dark: BTreeSet::new(),
        };
        Net { roads: Roads(Arc::new(Mutex::new(traffic))), ports: Arc::default() }
    }

    /// The network as it is seen from one host.
    pub fn seen_from(&self, host: usize) -> Arc<dyn Fabric> {
        Arc::new(Side { net: self.clone(), host })
    }

    fn pipes(&self, which: impl Fn(&Pipe) -> bool) -> Vec<Pipe> {
        let mut ports = self.ports.lock().unwrap();
        ports.pipes.retain(Pipe::is_alive);
        ports.pipes.iter().filter(|pipe| which(pipe)).cloned().collect()
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.roads.0.lock().unwrap().cut.insert((from, to));
    }

    pub fn slow(&self, from: usize, to: usize, by: Duration) {
        self.roads.0.lock().unwrap().slow.insert((from, to), by);
    }

    pub fn mend(&self, from: usize, to: usize) {
        let mut traffic = self.roads.0.lock().unwrap();
        traffic.cut.remove(&(from, to));
        traffic.slow.remove(&(from, to));
        drop(traffic);
        for pipe in self.pipes(|pipe| (pipe.from, pipe.to) == (from, to)) {
            pipe.look_again();
        }
    }

    /// All connections between two hosts are torn down.
    pub fn tear(&self, one: usize, other: usize) {
        for pipe in self.pipes(|p| (p.from, p.to) == (one, other) || (p.to, p.from) == (one, other))
        {
            pipe.reset();
        }
    }

    /// A host's process is gone. Of its connections the others hear at once, or, where the power
    /// is gone, not at all.
    pub fn leave(&self, host: usize, power: bool) {
        self.ports.lock().unwrap().listening.remove(&address(host));
        for pipe in self.pipes(|pipe| pipe.from == host || pipe.to == host) {
            if power { pipe.lose() } else { pipe.reset() }
        }
        if power {
            self.roads.0.lock().unwrap().dark.insert(host);
        }
    }

    /// A host is back: whoever still had a connection to its former life hears that it is gone.
    pub fn come_back(&self, host: usize) {
        self.roads.0.lock().unwrap().dark.remove(&host);
        let ports = self.ports.lock().unwrap();
        for pipe in ports.pipes.iter().filter(|pipe| pipe.from == host || pipe.to == host) {
            pipe.reset();
        }
    }

    async fn connect(self, from: usize, to: SocketAddr) -> io::Result<Connection> {
        let host = usize::from(match to.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        })
        .wrapping_sub(1);
        sleep(self.roads.delay(from, host) + self.roads.delay(host, from)).await;
        let there = self.roads.is_open(from, host) && self.roads.is_open(host, from);
        if !there || self.roads.is_dark(host) {
            sleep(CONNECT).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (out, back) = (Pipe::new(&self.roads, from, host), Pipe::new(&self.roads, host, from));
        let mut ports = self.ports.lock().unwrap();
        let arrivals = ports.listening.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
        let theirs: Connection = Box::new(End::new(out.clone(), back.clone()));
        if arrivals.send((theirs, address(from))).is_err() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        ports.pipes.push(out.clone());
        ports.pipes.push(back.clone());
        Ok(Box::new(End::new(back, out)))
    }
}

struct Side {
    net: Net,
    host: usize,
}

impl Fabric for Side {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Connection>> {
        self.net.clone().connect(self.host, to).boxed()
    }

    fn listen(&self, _: &str, at: SocketAddr) -> Result<Box<dyn Arrivals>, BindError> {
        let (sender, queue) = mpsc::unbounded_channel();
        self.net.ports.lock().unwrap().listening.insert(at, sender);
        Ok(Box::new(Door { at, queue }))
    }

    fn resolve(&self, name: &str) -> BoxFuture<'static, Result<Vec<SocketAddr>, ResolveError>> {
        let ports = self.net.ports.lock().unwrap();
        let known = ports.names.get(name).cloned().or_else(|| Some(vec![name.parse().ok()?]));
        let unknown = ResolveError { name: name.to_owned(), why: "nobody knows it".to_owned() };
        async move { known.ok_or(unknown) }.boxed()
    }
}

struct Door {
    at: SocketAddr,
    queue: mpsc::UnboundedReceiver<Arriving>,
}

impl Arrivals for Door {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        async move {
            match self.queue.recv().await {
                Some(arrived) => Ok(arrived),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

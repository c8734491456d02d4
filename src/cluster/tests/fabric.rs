//! A network within this process, whose links can be cut each way on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, watch};

use crate::cluster::Seams;
use crate::net::{Arrivals, BindError, Connection, Fabric, ResolveError};

/// Bytes on their way that nobody has taken yet.
const WINDOW: usize = 64 * 1024;
const FIRST_PORT: u16 = 40_000;

#[derive(Default)]
struct Plan {
    /// Who listens where.
    owners: BTreeMap<SocketAddr, (String, mpsc::UnboundedSender<Arrived>)>,
    ports: u16,
    /// What the first sends to the second stays on its way.
    cut: BTreeSet<(String, String)>,
    /// Who has no way to whom: connecting fails at once.
    walls: BTreeSet<(String, String)>,
}

type Arrived = (Connection, SocketAddr);

/// All links.
#[derive(Clone)]
pub(super) struct Wires {
    plan: Arc<Mutex<Plan>>,
    changed: Arc<watch::Sender<()>>,
}

/// One agent's part of it.
struct Port {
    wires: Wires,
    name: String,
}

impl Wires {
    pub fn new() -> Wires {
        Wires { plan: Arc::default(), changed: Arc::new(watch::Sender::new(())) }
    }

    /// For the agent of that name.
    pub fn seams(&self, name: &str) -> Seams {
        let port = Port { wires: self.clone(), name: name.to_owned() };
        Seams { fabric: Arc::new(port), ..Seams::default() }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan());
        self.changed.send_replace(());
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub fn cut(&self, from: &str, to: &str) {
        self.change(|plan| _ = plan.cut.insert((from.to_owned(), to.to_owned())));
    }

    /// The two are silent to each other.
    pub fn sever(&self, one: &str, other: &str) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Everything that was held up goes on.
    pub fn heal(&self) {
        self.change(|plan| plan.cut.clear());
    }

    /// The two cannot connect, and know it at once.
    pub fn wall(&self, one: &str, other: &str) {
        let (one, other) = (one.to_owned(), other.to_owned());
        self.change(|plan| plan.walls.extend([(one.clone(), other.clone()), (other, one)]));
    }

    pub fn open(&self, one: &str, other: &str) {
        let among = |pair: &(String, String)| {
            [pair.0.as_str(), pair.1.as_str()] == [one, other]
                || [pair.1.as_str(), pair.0.as_str()] == [one, other]
        };
        self.change(|plan| plan.walls.retain(|pair| !among(pair)));
    }

    async fn until(&self, holds: impl Fn(&Plan) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(&self.plan()) {
            changed.changed().await.unwrap();
        }
    }

    async fn passes(&self, from: &str, to: &str) {
        let link = (from.to_owned(), to.to_owned());
        self.until(|plan| !plan.cut.contains(&link)).await;
    }
}

/// Carries what `from` says to `to`; the end of it too waits while the link is cut.
async fn carry(
    wires: Wires,
    link: (String, String),
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        wires.passes(&link.0, &link.1).await;
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

impl Fabric for Port {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Connection>> {
        let (wires, name) = (self.wires.clone(), self.name.clone());
        async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let known = wires.plan().owners.get(&to).cloned();
            let (owner, arrivals) = known.ok_or_else(refused)?;
            if wires.plan().walls.contains(&(name.clone(), owner.clone())) {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            // A connection takes a word from both sides.
            wires.passes(&name, &owner).await;
            wires.passes(&owner, &name).await;
            let (mine, near) = duplex(WINDOW);
            let (far, theirs) = duplex(WINDOW);
            let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
            let (there, back) = ((name.clone(), owner.clone()), (owner, name));
            tokio::spawn(carry(wires.clone(), there, near_read, far_write));
            tokio::spawn(carry(wires, back, far_read, near_write));
            let from = SocketAddr::from(([127, 0, 0, 1], 1));
            arrivals.send((Box::new(theirs), from)).map_err(|_| refused())?;
            Ok(Box::new(mine) as Connection)
        }
        .boxed()
    }

    fn listen(&self, _: &str, at: SocketAddr) -> Result<Box<dyn Arrivals>, BindError> {
        let (sender, queue) = mpsc::unbounded_channel();
        let mut plan = self.wires.plan();
        let mut addr = at;
        if addr.port() == 0 {
            addr.set_port(FIRST_PORT + plan.ports);
            plan.ports += 1;
        }
        plan.owners.insert(addr, (self.name.clone(), sender));
        Ok(Box::new(Socket { addr, queue }))
    }

    fn resolve(&self, name: &str) -> BoxFuture<'static, Result<Vec<SocketAddr>, ResolveError>> {
        let addr = name.parse().unwrap();
        async move { Ok(vec![addr]) }.boxed()
    }
}

struct Socket {
    addr: SocketAddr,
    queue: mpsc::UnboundedReceiver<Arrived>,
}

impl Arrivals for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrived>> {
        async move { self.queue.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) }
            .boxed()
    }
}

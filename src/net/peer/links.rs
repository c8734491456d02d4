//! The connections this agent calls others on: one per address and purpose.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::lifecycle::{Shutdown, Tasks};
use crate::model::limits;
use crate::net::{Fabric, ResolveError};

use super::guard::Guard;
use super::link::{self, Call, Stage};
use super::wire::{self, Open};
use super::{CallError, Exchange, Purpose, Pushed};

/// Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    tasks: Tasks,
    shutdown: Shutdown,
    fabric: Arc<dyn Fabric>,
    guard: Guard,
    links: Mutex<BTreeMap<(SocketAddr, Purpose), Link>>,
}

#[derive(Clone)]
struct Link {
    queue: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
}

/// A call that waits for its answer.
struct Queued {
    stage: Arc<Stage>,
    answer: oneshot::Receiver<Result<Bytes, CallError>>,
}

impl Links {
    /// Connections are made as `guard` sees fit, and end when `shutdown` begins.
    pub fn new(
        tasks: &Tasks,
        shutdown: &Shutdown,
        fabric: Arc<dyn Fabric>,
        guard: &Guard,
    ) -> Links {
        let (tasks, shutdown, guard) = (tasks.clone(), shutdown.clone(), guard.clone());
        let links = Mutex::default();
        Links { shared: Arc::new(Shared { tasks, shutdown, fabric, guard, links }) }
    }

    /// All addresses of `host:port`, asked for anew.
    pub async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        self.shared.fabric.resolve(name).await
    }

    /// Asks the agent at `to` for a stream.
    pub async fn open_stream(
        &self,
        to: SocketAddr,
        purpose: Purpose,
        ask: Bytes,
    ) -> io::Result<Pushed> {
        let open = self.open(to, purpose).await?;
        Pushed::ask(open, ask).await
    }

    /// Opens a connection of its own, for calls that must all be made on one.
    pub async fn exchange(&self, to: SocketAddr, purpose: Purpose) -> io::Result<Exchange> {
        Ok(Exchange::new(self.open(to, purpose).await?))
    }

    async fn open(&self, to: SocketAddr, purpose: Purpose) -> io::Result<Open> {
        wire::connect(&*self.shared.fabric, &self.shared.guard, to, purpose).await
    }

    /// Calls the agent at `to`. The call is queued before this returns: calls to one peer for one
    /// purpose are written in the order in which they were made, whenever the futures are polled.
    pub fn call(
        &self,
        to: SocketAddr,
        purpose: Purpose,
        body: Bytes,
        within: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + use<> {
        let queued = self.queue(to, purpose, body);
        async move {
            let Queued { stage, answer } = queued?;
            match timeout(within, answer).await {
                Ok(Ok(answer)) => answer,
                // The task died with the call in hand, or the time is up.
                Ok(Err(_)) if stage.abandon() => {
                    Err(CallError::NotSent(format!("the connection to {to} was closed")))
                }
                Ok(Err(_)) => Err(CallError::Lost(format!("the connection to {to} was closed"))),
                Err(_) if stage.abandon() => Err(CallError::NotSent(format!(
                    "the agent at {to} could not be reached within {within:?}"
                ))),
                Err(_) => Err(CallError::Lost(format!(
                    "the agent at {to} did not answer within {within:?}"
                ))),
            }
        }
    }

    fn queue(&self, to: SocketAddr, purpose: Purpose, body: Bytes) -> Result<Queued, CallError> {
        if !wire::fits(&body) {
            let (len, max) = (body.len(), limits::PEER_FRAME);
            return Err(CallError::NotSent(format!("a call of {len} bytes, {max} are allowed")));
        }
        if self.shared.shutdown.has_begun() {
            return Err(CallError::NotSent("this agent is stopping".to_owned()));
        }
        let link = self.link(to, purpose);
        let busy = |_| CallError::NotSent(format!("too many calls to {to} are under way"));
        let permit = link.room.clone().try_acquire_owned().map_err(busy)?;
        let (reply, answer) = oneshot::channel();
        let stage = Arc::new(Stage::default());
        let call = Call { body, stage: stage.clone(), reply, permit };
        match link.queue.try_send(call) {
            Ok(()) => Ok(Queued { stage, answer }),
            Err(_) => Err(CallError::NotSent(format!("the connection to {to} was just closed"))),
        }
    }

    fn link(&self, to: SocketAddr, purpose: Purpose) -> Link {
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&(to, purpose)).filter(|link| !link.queue.is_closed()) {
            return link.clone();
        }
        links.retain(|_, link| !link.queue.is_closed());
        let (queue, calls) = mpsc::channel(limits::PEER_IN_FLIGHT);
        let Shared { shutdown, fabric, guard, .. } = &*self.shared;
        let (shutdown, fabric, guard) = (shutdown.clone(), fabric.clone(), guard.clone());
        self.shared.tasks.spawn("peer link", async move {
            shutdown.or(link::run(fabric, guard, to, purpose, calls)).await;
        });
        let link = Link { queue, room: Arc::new(Semaphore::new(limits::PEER_IN_FLIGHT)) };
        links.insert((to, purpose), link.clone());
        link
    }
}

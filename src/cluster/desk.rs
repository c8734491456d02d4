//! What this agent serves on its port for other agents, from before it has found its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::net::peer::{Handler, Purpose, Refused, Service};
use crate::replica::Replica;
use crate::telemetry::Gauge;

use super::asks::{self, Ask, Introduction, Reply};
use super::follow;
use super::server::Server;

pub(super) struct Desk {
    /// Who this agent is while it is nobody yet.
    introduction: Mutex<Introduction>,
    pub server: OnceLock<Arc<Server>>,
}

type Answer = BoxFuture<'static, Result<Bytes, Refused>>;

impl Desk {
    pub fn new(introduction: Introduction) -> Desk {
        Desk { introduction: Mutex::new(introduction), server: OnceLock::new() }
    }

    pub fn introduction(&self) -> Introduction {
        self.introduction.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is what it says of itself.
    pub fn introduce(&self, change: impl FnOnce(&mut Introduction)) {
        change(&mut self.introduction.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn server(&self) -> Result<&Arc<Server>, Refused> {
        self.server.get().ok_or_else(|| Refused("this agent has no place yet".to_owned()))
    }

    fn answer(&self, body: &[u8]) -> Answer {
        let ask: Ask = match asks::decode(body) {
            Ok(ask) => ask,
            Err(refused) => return ready(Err(refused)).boxed(),
        };
        match (self.server(), ask) {
            (Ok(server), ask) => {
                let server = server.clone();
                async move { Ok(asks::encode(&server.answer(ask).await)) }.boxed()
            }
            (Err(_), Ask::Who(_)) => {
                ready(Ok(asks::encode(&Reply::Who(self.introduction())))).boxed()
            }
            (Err(refused), _) => ready(Err(refused)).boxed(),
        }
    }

    fn take(&self, body: Bytes) -> Answer {
        match self.server().and_then(|server| server.take(body)) {
            Ok(answer) => answer.map(Ok).boxed(),
            Err(refused) => ready(Err(refused)).boxed(),
        }
    }
}

/// Everything the port offers.
pub(super) fn services(
    desk: &Arc<Desk>,
    replica: &Replica,
    followers: Gauge,
) -> BTreeMap<Purpose, Service> {
    let (door, raft, follow) = (desk.clone(), desk.clone(), desk.clone());
    let raft: Handler = Arc::new(move |_, body| raft.take(body));
    let pulse = move || follow.server.get().map(|server| server.pulse());
    BTreeMap::from([
        (Purpose::Raft, Service::Calls(raft.clone())),
        (Purpose::Snapshot, Service::Calls(raft)),
        (Purpose::Door, Service::Calls(Arc::new(move |_, body: Bytes| door.answer(&body)))),
        (Purpose::Follow, Service::Stream(follow::feeder(replica.clone(), followers, pulse))),
    ])
}

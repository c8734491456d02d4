//! What this agent serves on its port for other agents, from before it has found its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::model::NodeId;
use crate::net::peer::{Handler, Purpose, Refused, Service};
use crate::replica::Replica;
use crate::telemetry::Gauge;

use super::asks::{self, Ask, Introduction, Reply};
use super::badge::Badge;
use super::follow::{self, Condition};
use super::porter::Porter;
use super::relay::Relay;
use super::server::Server;
use super::survey::{Surveys, surveyor};

pub(super) struct Desk {
    /// Who this agent is while it is nobody yet.
    introduction: Mutex<Introduction>,
    pub place: OnceLock<Place>,
    surveys: Surveys,
}

/// What this agent has become, of what others have dealings with.
#[derive(Clone)]
pub(super) enum Place {
    Server(Arc<Server>),
    Relay(Arc<Relay>),
}

impl Place {
    async fn answer(&self, ask: Ask) -> Reply {
        match self {
            Place::Server(server) => server.answer(ask).await,
            Place::Relay(relay) => relay.answer(ask).await,
        }
    }

    fn condition(&self) -> Option<Condition> {
        match self {
            Place::Server(server) => Some(Condition { pulse: server.pulse(), open: true }),
            Place::Relay(relay) => relay.condition(),
        }
    }
}

type Answer = BoxFuture<'static, Result<Bytes, Refused>>;

impl Desk {
    pub fn new(introduction: Introduction, surveys: Surveys) -> Desk {
        Desk { introduction: Mutex::new(introduction), place: OnceLock::new(), surveys }
    }

    pub fn introduction(&self) -> Introduction {
        self.introduction.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is what it says of itself.
    pub fn introduce(&self, change: impl FnOnce(&mut Introduction)) {
        change(&mut self.introduction.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The server that this agent is.
    pub fn server(&self) -> Result<&Arc<Server>, Refused> {
        match self.place.get() {
            Some(Place::Server(server)) => Ok(server),
            Some(Place::Relay(_)) => Err(Refused("this agent is no server".to_owned())),
            None => Err(Refused("this agent has no place yet".to_owned())),
        }
    }

    /// Whether this agent tells strangers where the servers are, for it lets nobody in itself.
    pub fn points_on(&self) -> bool {
        matches!(self.place.get(), Some(Place::Relay(_)))
    }

    /// Answers what may be asked.
    pub fn answer(&self, ask: Ask) -> Answer {
        match (self.place.get(), ask) {
            (Some(place), ask) => {
                let place = place.clone();
                async move { Ok(asks::encode(&place.answer(ask).await)) }.boxed()
            }
            (None, Ask::Who(_)) => {
                ready(Ok(asks::encode(&Reply::Who(self.introduction())))).boxed()
            }
            (None, _) => ready(Err(Refused("this agent has no place yet".to_owned()))).boxed(),
        }
    }

    pub fn take(&self, from: NodeId, body: Bytes) -> Answer {
        match self.server().and_then(|server| server.take(from, body)) {
            Ok(answer) => answer.map(Ok).boxed(),
            Err(refused) => ready(Err(refused)).boxed(),
        }
    }
}

/// Everything the port offers.
pub(super) fn services(
    desk: &Arc<Desk>,
    badge: &Arc<Badge>,
    replica: &Replica,
    followers: Gauge,
) -> BTreeMap<Purpose, Service> {
    let porter = Arc::new(Porter::new(desk.clone(), badge.clone(), replica.clone()));
    let (raft, follow) = (porter.clone(), desk.clone());
    let raft: Handler = Arc::new(move |caller, body| raft.take(caller, body));
    let asks = |purpose| {
        let porter = porter.clone();
        let answer: Handler =
            Arc::new(move |caller, body: Bytes| porter.answer(caller, purpose, &body));
        (purpose, Service::Calls(answer))
    };
    let condition = move || follow.place.get().and_then(Place::condition);
    BTreeMap::from([
        (Purpose::Raft, Service::Calls(raft.clone())),
        (Purpose::Snapshot, Service::Calls(raft)),
        asks(Purpose::Door),
        asks(Purpose::Entrance),
        (Purpose::Follow, Service::Stream(follow::feeder(replica.clone(), followers, condition))),
        (Purpose::Survey, Service::Stream(surveyor(desk.clone(), desk.surveys.clone()))),
    ])
}

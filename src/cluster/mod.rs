//! The one door to the cluster: propose, read at a consistency, watch, keep alive.

mod acquaintance;
mod asker;
mod asks;
mod badge;
mod carrier;
mod checkpoint;
mod compare;
mod config;
mod confirms;
mod deadlines;
mod denials;
mod desk;
mod duties;
mod edge;
mod entrance;
mod envelope;
mod error;
mod first_token;
mod follow;
mod founding;
mod joining;
mod ledger;
mod levels;
mod logins;
mod membership;
mod operator;
mod own_tokens;
mod papers;
mod past;
mod patience;
mod porter;
mod promotion;
mod readmission;
mod recovery;
mod registrar;
mod relay;
mod removal;
mod renewal;
mod restoring;
mod rights;
mod roster;
mod server;
mod service;
#[cfg(test)]
mod solo;
mod standing;
mod start;
mod steady;
mod survey;
#[cfg(test)]
mod tests;
mod threshold;
mod wished;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;

use crate::model::{LeaseId, NodeId, NodeName, SessionId};
use crate::replica::{Replica, Topic, Watch};
use crate::state::{Command, Outcome, PastAnswer, PastQuery, State};

use asks::Pulse;
use badge::Badge;
use logins::Logins;
use steady::Steady;
use survey::Surveys;
use threshold::Threshold;

pub use acquaintance::Acquaintance;
pub use config::{Clock, Config, Pace, RoleWish, Seams};
pub use envelope::{Unwrapping, padding};
pub use error::{ClusterError, ProposeError, ReadError};
pub use first_token::Reset;
pub use logins::{Asker, Credential, LoginError};
pub use operator::{Operation, OperatorError};
pub use own_tokens::{OwnToken, OwnTokens};
pub use recovery::Survivor;
pub use restoring::{RestoreError, Restored};
pub use standing::{RaftRole, Seat, Standing};
pub use start::start;
pub use survey::{Backup, SurveyError};
pub use wished::Wished;

/// This module's line on the board.
const SUBJECT: &str = "cluster";

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// At least everything that was acknowledged to anyone before the call (a read index).
    Linearizable,
    /// What this agent has.
    Local,
}

/// What a heartbeat keeps from ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beat {
    /// This agent's own presence.
    Presence,
    Lease(LeaseId),
    /// One that has a TTL: others live anyway.
    Session(SessionId),
}

/// The answer to a heartbeat that a quorum stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// It lives for at least this long from the moment the heartbeat was sent.
    For(Duration),
    /// It has ended, or never was.
    Gone,
}

/// The handle that every front holds. What waits behind it is boxed: a front's own futures would
/// otherwise hold everything down to the connection that a call is sent on.
#[derive(Clone)]
pub struct Cluster {
    name: NodeName,
    replica: Replica,
    threshold: Arc<Threshold>,
    /// None in tests of what stands above.
    badge: Option<Arc<Badge>>,
    logins: Arc<Logins>,
    surveys: Surveys,
    own: OwnTokens,
    steady: Arc<Steady>,
}

/// By which way this agent reaches the leader.
#[derive(Clone)]
enum Door {
    Server(Arc<server::Server>),
    Edge(Arc<edge::Edge>),
    #[cfg(test)]
    Solo(Arc<solo::Solo>),
}

impl Cluster {
    /// This agent's node.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// What this agent has right now, however stale: never waits.
    pub fn snapshot(&self) -> Arc<State> {
        self.replica.snapshot()
    }

    /// The state at the consistency asked for. Waits up to `limits::LEADER_PATIENCE` for a leader.
    pub async fn read(&self, consistency: Consistency) -> Result<Arc<State>, ReadError> {
        if let Some(Door::Edge(edge)) = self.threshold.door()
            && let Some(why) = edge.outdated()
        {
            return Err(ReadError::Outdated(why));
        }
        if consistency == Consistency::Local {
            let synced = match self.threshold.door() {
                Some(Door::Server(server)) => server.is_synced(),
                Some(Door::Edge(edge)) => edge.is_synced(),
                #[cfg(test)]
                Some(Door::Solo(_)) => true,
                None => false,
            };
            return if synced { Ok(self.snapshot()) } else { Err(ReadError::NotSynced) };
        }
        match self.threshold.door() {
            Some(Door::Server(server)) => patience::read(&**server, &self.replica).boxed().await,
            Some(Door::Edge(edge)) => patience::read(&**edge, &self.replica).boxed().await,
            #[cfg(test)]
            Some(Door::Solo(_)) => Ok(self.snapshot()),
            None => Err(ReadError::NotSynced),
        }
    }

    /// Answers about revisions before the present one; an agent that keeps no history asks a
    /// server, for up to `limits::LEADER_PATIENCE`, which knows at least what this agent does.
    pub async fn recall(&self, query: &PastQuery) -> Result<PastAnswer, ReadError> {
        match self.threshold.door() {
            Some(Door::Edge(edge)) => past::ask_on(edge, &self.replica, query).boxed().await,
            _ => Ok(self.snapshot().recall(query)),
        }
    }

    /// Has the leader log and apply a command. When it returns, the outcome is visible in
    /// `snapshot` of this agent. Waits up to `limits::LEADER_PATIENCE` for a leader, but sends at
    /// most once: an outcome that is not known is `ProposeError::Unknown` and nothing is retried.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let proposing = self.threshold.proposing();
        let outcome = match self.threshold.door() {
            Some(Door::Server(server)) => {
                let command = self.logins.seal(command);
                patience::propose_and_see(&**server, &self.replica, &command).boxed().await
            }
            Some(Door::Edge(edge)) => {
                patience::propose_and_see(&**edge, &self.replica, &command).boxed().await
            }
            #[cfg(test)]
            Some(Door::Solo(solo)) => Ok(solo.propose(self.logins.seal(command))),
            None => Err(ProposeError::NotSynced),
        };
        proposing.ended(outcome.is_ok());
        outcome
    }

    /// Tells the leader that something lives. Never logged. May be repeated freely.
    pub async fn keep_alive(&self, beat: Beat) -> Result<Alive, ReadError> {
        self.ask(|me| match beat {
            Beat::Presence => Pulse::Presence(me),
            Beat::Lease(id) => Pulse::Lease(id),
            Beat::Session(id) => Pulse::Session(id),
        })
        .await
    }

    /// For how long a lease lives if nobody renews it. Asks the leader, and renews nothing.
    pub async fn lease_left(&self, id: LeaseId) -> Result<Alive, ReadError> {
        self.ask(|_| Pulse::LeaseLeft(id)).await
    }

    async fn ask(&self, pulse: impl FnOnce(NodeId) -> Pulse) -> Result<Alive, ReadError> {
        match self.threshold.door() {
            Some(Door::Server(server)) => {
                patience::keep_alive(&**server, pulse(server.id())).boxed().await
            }
            Some(Door::Edge(edge)) => patience::keep_alive(&**edge, pulse(edge.id())).boxed().await,
            #[cfg(test)]
            Some(Door::Solo(solo)) => Ok(solo.keep_alive(pulse(NodeId(1)))),
            None => Err(ReadError::NotSynced),
        }
    }

    /// Wakes when one of the topics is touched. Watch first, then read.
    pub fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Watch {
        self.replica.watch(topics)
    }

    /// When this agent's certificate ends; none if it has none yet.
    pub fn certificate_ends(&self) -> Option<SystemTime> {
        self.badge.as_ref()?.ends()
    }

    /// Since when a server has been there, or silent, without a break; at most since this agent
    /// has been looking.
    pub fn steady_since(&self, server: NodeId) -> SystemTime {
        self.steady.since(server)
    }

    /// Who answers, and in which term: copied, where `standing` gathers.
    pub fn seat(&self) -> Seat {
        match self.threshold.door() {
            Some(Door::Server(server)) => server.seat(),
            Some(Door::Edge(edge)) => edge.seat(),
            #[cfg(test)]
            Some(Door::Solo(_)) => Seat { id: NodeId(1), term: 1 },
            None => Seat { id: NodeId(0), term: 0 },
        }
    }

    /// Who this agent is in the cluster at this moment.
    pub fn standing(&self) -> Standing {
        match self.threshold.door() {
            Some(Door::Server(server)) => server.standing(),
            Some(Door::Edge(edge)) => edge.standing(),
            #[cfg(test)]
            Some(Door::Solo(solo)) => solo.standing(),
            None => self.threshold.standing(),
        }
    }
}

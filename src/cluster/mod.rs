//! The one door to the cluster: propose, read at a consistency, watch, keep alive.

mod error;
mod solo;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use crate::model::{LeaseId, NodeName};
use crate::replica::{Replica, Topic, Watch};
use crate::state::{Command, Outcome, State};

pub use error::{ProposeError, ReadError};
pub use standing::{RaftRole, Standing};

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
}

/// The answer to a heartbeat that a quorum stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// It lives for at least this long from the moment the heartbeat was sent.
    For(Duration),
    /// It has ended, or never was.
    Gone,
}

/// The handle that every front holds.
#[derive(Clone)]
pub struct Cluster {
    name: NodeName,
    replica: Replica,
    door: Door,
}

/// By which way this agent reaches the leader.
#[derive(Clone)]
enum Door {
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

    /// The state at the consistency asked for.
    pub async fn read(&self, consistency: Consistency) -> Result<Arc<State>, ReadError> {
        match (consistency, &self.door) {
            (Consistency::Local, _) if self.standing().synced => Ok(self.snapshot()),
            (Consistency::Local, _) => Err(ReadError::NotSynced),
            (Consistency::Linearizable, Door::Solo(_)) => Ok(self.snapshot()),
        }
    }

    /// Has the leader log and apply a command. When it returns, the outcome is visible in
    /// `snapshot` of this agent. It is sent at most once: an outcome that is not known is
    /// `ProposeError::Unknown` and nothing is retried.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        match &self.door {
            Door::Solo(solo) => Ok(solo.propose(command)),
        }
    }

    /// Tells the leader that something lives. Never logged.
    pub async fn keep_alive(&self, beat: Beat) -> Result<Alive, ReadError> {
        match &self.door {
            Door::Solo(solo) => Ok(solo.keep_alive(beat)),
        }
    }

    /// Wakes when one of the topics is touched. Watch first, then read.
    pub fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Watch {
        self.replica.watch(topics)
    }

    /// Who this agent is in the cluster at this moment.
    pub fn standing(&self) -> Standing {
        match &self.door {
            Door::Solo(solo) => solo.standing(),
        }
    }
}

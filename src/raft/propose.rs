//! One command's way into the log: bounded, stamped, sent at most once.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::model::{Applied, NodeId, Stamp, limits};
use crate::replica::Replica;
use crate::state::{Command, Outcome, Proposal};

use super::clock::ClusterClock;
use super::error::ProposeError;
use super::node::Core;
use super::types::{Logged, Types, applied};
use super::wal::Pressure;

/// How long a leader that was just elected may refuse before it is believed.
const JUST_ELECTED: Duration = Duration::from_secs(1);
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));

pub(super) struct Proposer {
    pub(super) core: Core,
    pub(super) replica: Replica,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) room: Arc<Semaphore>,
    pub(super) within: Duration,
    /// A leader that no quorum has answered for this long need not be waited for.
    pub(super) lost_after: Duration,
}

impl Proposer {
    pub(super) async fn propose(
        &self,
        command: Command,
    ) -> Result<(Outcome, Applied), ProposeError> {
        let busy = |_| ProposeError::Busy(limits::PROPOSALS_IN_FLIGHT);
        let _permit = self.room.try_acquire().map_err(busy)?;
        let started = Instant::now();
        let mut pause = RETRY.0;
        let mut proposal = Proposal { stamp: self.replica.snapshot().stamp(), command };
        loop {
            let term = self.leading()?;
            proposal.stamp = self.clock.stamp(term, proposal.stamp, Instant::now());
            let logged = Logged::encode(&proposal);
            let (len, max) = (logged.0.len(), limits::LOG_COMMAND);
            if len > max {
                return Err(ProposeError::TooLarge { len, max });
            }
            if self.pressure.refuses(len) {
                return Err(ProposeError::DiskFull);
            }
            match self.write(logged, started + self.within).await {
                Err(Refusal::Unanswered) if started.elapsed() < JUST_ELECTED && !self.is_lost() => {
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
                Err(Refusal::Unanswered) => {
                    self.leading()?;
                    return Err(ProposeError::NoQuorum);
                }
                Err(Refusal::Other(error)) => return Err(error),
                Ok(done) => return Ok(done),
            }
        }
    }

    /// Cluster time, running where this server leads.
    pub(super) fn now(&self) -> Stamp {
        let state = self.replica.snapshot().stamp();
        match self.leading() {
            Ok(term) => self.clock.stamp(term, state, Instant::now()),
            Err(_) => state,
        }
    }

    /// The term in which this server leads.
    fn leading(&self) -> Result<u64, ProposeError> {
        if let Err(fatal) = &self.core.metrics().borrow_watched().running_state {
            return Err(ProposeError::Stopped(fatal.to_string()));
        }
        let metrics = self.core.server_metrics();
        let server = metrics.borrow_watched();
        if server.current_leader == Some(server.id) {
            return Ok(server.vote.leader_id().term);
        }
        Err(ProposeError::NotLeader { leader: server.current_leader.map(NodeId) })
    }

    /// A quorum has answered this leader once, and has not for long.
    fn is_lost(&self) -> bool {
        let metrics = self.core.data_metrics();
        let data = metrics.borrow_watched();
        data.last_quorum_acked.as_deref().is_some_and(|acked| acked.elapsed() > self.lost_after)
    }

    async fn write(
        &self,
        logged: Logged,
        deadline: Instant,
    ) -> Result<(Outcome, Applied), Refusal> {
        let unknown = |why: String| Refusal::Other(ProposeError::Unknown(why));
        match timeout_at(deadline, self.core.client_write(logged)).await {
            Ok(Ok(response)) => {
                let at = applied(response.log_id());
                match response.data.0 {
                    Some(outcome) => Ok((outcome, at)),
                    None => Err(unknown(format!("entry {} became another's", at.index))),
                }
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(self.refusal(&forward))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(unknown("the leader changed meanwhile".to_owned()))
            }
            // The other errors are of membership changes.
            Ok(Err(RaftError::APIError(error))) => Err(unknown(error.to_string())),
            Ok(Err(RaftError::Fatal(fatal))) => Err(unknown(fatal.to_string())),
            Err(_) => Err(unknown(format!("no quorum took it within {:?}", self.within))),
        }
    }

    /// What was forwarded was never appended. Right after an election openraft knows no leader
    /// until a quorum has answered this one: it is worth asking again, unless none does any more.
    fn refusal(&self, forward: &ForwardToLeader<Types>) -> Refusal {
        match (forward.leader_id, forward.reason) {
            (None, ForwardReason::LeaseExpired) => Refusal::Unanswered,
            (leader, _) => Refusal::Other(ProposeError::NotLeader { leader: leader.map(NodeId) }),
        }
    }
}

enum Refusal {
    /// It leads, but no quorum has answered it lately.
    Unanswered,
    Other(ProposeError),
}

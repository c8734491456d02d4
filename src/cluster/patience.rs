//! Tries again while there is no leader, but only what cannot have happened, and not for ever.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::lifecycle::Backoff;
use crate::model::limits;
use crate::replica::Replica;
use crate::state::{Command, Outcome, State};

use super::asks::{Confirmed, Pulse, Unconfirmed};
use super::deadlines::Verdict;
use super::{Alive, ProposeError, ReadError};

/// What came of one try to propose.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Applied, at this place in the log.
    Done(Outcome, u64),
    /// Nothing was appended, and it may go better soon.
    NotYet,
    Failed(ProposeError),
}

/// How an agent reaches the leader. Each call is one try.
pub(super) trait Way {
    fn propose(&self, command: &Command) -> impl Future<Output = Attempt> + Send;

    fn confirm(
        &self,
        pulses: Vec<Pulse>,
    ) -> impl Future<Output = Result<Confirmed, Unconfirmed>> + Send;

    /// Resolves once the leader is reached in another way than at the time of the call; never, if
    /// that cannot happen any more.
    fn turn(&self) -> impl Future<Output = ()> + Send + use<Self>;
}

pub(super) fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(10), Duration::from_millis(100))
}

/// Until another try is worth it: a new leader is asked at once.
pub(super) async fn pause(pauses: &mut Backoff, turn: impl Future<Output = ()>) {
    tokio::select! {
        () = turn => {}
        () = sleep(pauses.next_delay()) => {}
    }
}

/// The outcome and its place in the log.
pub(super) async fn propose(
    way: &impl Way,
    command: &Command,
) -> Result<(Outcome, u64), ProposeError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    let mut pauses = pauses();
    loop {
        let turn = way.turn();
        match way.propose(command).await {
            Attempt::Done(outcome, index) => return Ok((outcome, index)),
            Attempt::Failed(error) => return Err(error),
            Attempt::NotYet if Instant::now() >= deadline => return Err(ProposeError::NoLeader),
            Attempt::NotYet => pause(&mut pauses, turn).await,
        }
    }
}

/// The same, and this agent has it too.
pub(super) async fn propose_and_see(
    way: &impl Way,
    replica: &Replica,
    command: &Command,
) -> Result<Outcome, ProposeError> {
    let (outcome, index) = propose(way, command).await?;
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    match timeout_at(deadline, replica.wait_for(index)).await {
        Ok(()) => Ok(outcome),
        Err(_) => Err(ProposeError::Unknown(format!(
            "it is in the log at {index}, but this agent does not receive the log"
        ))),
    }
}

/// A state with everything that was acknowledged before the call.
pub(super) async fn read(way: &impl Way, replica: &Replica) -> Result<Arc<State>, ReadError> {
    let read = async {
        // Every try asks for an index of its own: an older one proves nothing.
        let confirmed = confirmed(way, &[]).await?;
        replica.wait_for(confirmed.index).await;
        Ok(replica.snapshot())
    };
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    timeout_at(deadline, read).await.unwrap_or(Err(ReadError::NoLeader))
}

/// The leader's word on heartbeats, one for each.
pub(super) async fn confirm(way: &impl Way, pulses: &[Pulse]) -> Result<Confirmed, ReadError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    timeout_at(deadline, confirmed(way, pulses)).await.unwrap_or(Err(ReadError::NoLeader))
}

/// Tries until there is a leader. One that has lost its quorum has been waited for already.
async fn confirmed(way: &impl Way, pulses: &[Pulse]) -> Result<Confirmed, ReadError> {
    let mut pauses = pauses();
    loop {
        let turn = way.turn();
        match way.confirm(pulses.to_vec()).await {
            Ok(confirmed) => return Ok(confirmed),
            Err(Unconfirmed::NoQuorum) => return Err(ReadError::NoQuorum),
            Err(Unconfirmed::NotYet) => pause(&mut pauses, turn).await,
        }
    }
}

/// The leader's final word on one pulse: an end that is being decided is waited for.
pub(super) async fn keep_alive(way: &impl Way, pulse: Pulse) -> Result<Alive, ReadError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    let mut pauses = pauses();
    loop {
        let confirmed = confirm(way, &[pulse]).await?;
        match confirmed.verdicts.first() {
            Some(Verdict::For(ttl)) => return Ok(Alive::For(*ttl)),
            Some(Verdict::Gone) => return Ok(Alive::Gone),
            Some(Verdict::Undecided) | None if Instant::now() >= deadline => {
                return Err(ReadError::NoLeader);
            }
            Some(Verdict::Undecided) | None => sleep(pauses.next_delay()).await,
        }
    }
}

//! Reads at the consistency asked for, and waits until what was asked about has changed.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::{Cluster, Consistency, ReadError};
use crate::replica::{Topic, Watch};
use crate::state::State;

use super::Front;
use super::answer::Freshness;
use super::error::Failure;
use super::params::{Mode, Options};

/// How long reads that need a leader wait for one.
const LEADER_HOLD: Duration = Duration::from_secs(7);
/// How long catalog and health wait for a leader before they answer from memory.
const CATALOG_HOLD: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(100);

/// What becomes of a read that finds no leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It fails: keys may guard something.
    Keys,
    /// Answered from memory, marked as such, unless the caller wants consistency.
    Catalog,
}

/// Where an answer stands: clients ask for anything newer than its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub index: u64,
    /// There is something to show.
    pub found: bool,
}

/// A state to answer from.
pub struct View {
    pub state: Arc<State>,
    pub freshness: Freshness,
}

/// Reads once; with `options.index` then waits until `mark` rises above it, the time runs out, or
/// the agent stops. `topics` are all that can raise the mark.
pub async fn read(
    front: &Front,
    class: Class,
    options: &Options,
    topics: impl FnOnce() -> Vec<Topic>,
    mark: impl Fn(&State) -> Mark,
) -> Result<View, Failure> {
    if options.index == 0 {
        let (state, known_leader) = fresh(&front.cluster, class, options).await?;
        let mark = mark(&state);
        return Ok(view(front, class, options, state, mark, known_leader));
    }
    // Watched before it is read, so that no change between the two is missed.
    let mut watch = front.cluster.watch(topics());
    let (state, known_leader) = fresh(&front.cluster, class, options).await?;
    let first = mark(&state);
    if first.index > options.index {
        return Ok(view(front, class, options, state, first, known_leader));
    }
    let Ok(_place) = front.waiters.try_acquire() else {
        return Err(Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many blocking queries are waiting on this agent",
        ));
    };
    drop(state);
    let deadline = Instant::now() + jittered(options.wait, rand::random_range(0.0..1.0));
    let state = wait(front, &mut watch, options.index, first, &mark, deadline).await;
    let mark = mark(&state);
    let known_leader = front.cluster.standing().leader.is_some();
    Ok(view(front, class, options, state, mark, known_leader))
}

/// A sixteenth is added at random, so that queries that began together do not end together.
pub fn jittered(wait: Duration, fraction: f64) -> Duration {
    wait + (wait / 16).mul_f64(fraction)
}

async fn wait(
    front: &Front,
    watch: &mut Watch,
    asked: u64,
    first: Mark,
    mark: &impl Fn(&State) -> Mark,
    deadline: Instant,
) -> Arc<State> {
    let lineage = front.cluster.snapshot().identity().lineage;
    let (mut asked, mut found) = (asked, first.found);
    loop {
        let woken = tokio::select! {
            woken = timeout_at(deadline, watch.changed()) => woken.is_ok(),
            () = front.shutdown.begun() => false,
        };
        let state = front.cluster.snapshot();
        let now = mark(&state);
        let restored = state.identity().lineage != lineage;
        let nothing_still = !found && !now.found;
        if !woken || restored || (now.index > asked && !nothing_still) {
            return state;
        }
        // What is not there has no index of its own: unrelated changes move it, and wake nobody.
        asked = if nothing_still { asked.max(now.index) } else { asked };
        found = now.found;
    }
}

fn view(
    front: &Front,
    class: Class,
    options: &Options,
    state: Arc<State>,
    mark: Mark,
    known_leader: bool,
) -> View {
    let effective = match options.mode {
        _ if class == Class::Keys => None,
        Mode::Default => Some("leader"),
        Mode::Consistent => Some("consistent"),
        Mode::Stale => Some("stale"),
    };
    let last_contact = match (known_leader, options.mode) {
        // A read index has just been confirmed.
        (true, Mode::Default | Mode::Consistent) => Duration::ZERO,
        _ => front.cluster.standing().last_contact,
    };
    let freshness = Freshness { index: mark.index, known_leader, last_contact, effective };
    View { state, freshness }
}

/// The state, and whether a leader stands behind it.
async fn fresh(
    cluster: &Cluster,
    class: Class,
    options: &Options,
) -> Result<(Arc<State>, bool), Failure> {
    if options.mode == Mode::Stale {
        let standing = cluster.standing();
        if options.max_stale.is_none_or(|most| standing.last_contact <= most) {
            let state = cluster.read(Consistency::Local).await?;
            return Ok((state, standing.leader.is_some()));
        }
    }
    // A stale answer that is too old is asked of the leader once; without one it must do.
    let falls_back =
        options.mode == Mode::Stale || (class == Class::Catalog && options.mode == Mode::Default);
    let hold = if falls_back { CATALOG_HOLD } else { LEADER_HOLD };
    match linearizable(cluster, hold).await {
        Ok(state) => Ok((state, true)),
        Err(ReadError::NoLeader) if falls_back => {
            Ok((cluster.read(Consistency::Local).await?, false))
        }
        Err(error) => Err(error.into()),
    }
}

/// A new read index for every attempt, until there is a leader or the time is over.
async fn linearizable(cluster: &Cluster, hold: Duration) -> Result<Arc<State>, ReadError> {
    let deadline = Instant::now() + hold;
    loop {
        match timeout_at(deadline, cluster.read(Consistency::Linearizable)).await {
            Ok(Err(ReadError::NoLeader)) if Instant::now() + RETRY < deadline => {
                sleep(RETRY).await;
            }
            Ok(outcome) => return outcome,
            Err(_) => return Err(ReadError::NoLeader),
        }
    }
}

//! Reads at the consistency asked for, and waits until what was asked about has changed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Response;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cluster::{Cluster, Consistency, ReadError};
use crate::model::{Index, limits};
use crate::replica::{Topic, Watch};
use crate::state::State;

use super::Front;
use super::answer::{self, Freshness};
use super::call::Call;
use super::error::Failure;
use super::params::{Mode, Options};
use super::patience;
use super::shared;

pub use super::shared::Mark;

/// How long catalog and health wait for a leader before they answer from memory.
const CATALOG_HOLD: Duration = Duration::from_secs(1);

/// What becomes of a read that finds no leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It fails: keys may guard something.
    Keys,
    /// Answered from memory, marked as such, unless the caller wants consistency.
    Catalog,
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
    drop(state);
    let lineage = front.cluster.snapshot().identity().lineage;
    let (mut asked, mut found) = (options.index, first.found);
    let done = |state: &State| {
        let now = mark(state);
        let nothing_still = !found && !now.found;
        found = now.found;
        if nothing_still {
            // What is not there has no index of its own: unrelated changes move it.
            asked = asked.max(now.index);
        }
        state.identity().lineage != lineage || (now.index > asked && !nothing_still)
    };
    let state = wait(front, &mut watch, options.wait, done).await?;
    let mark = mark(&state);
    let known_leader = front.cluster.standing().leader.is_some();
    Ok(view(front, class, options, state, mark, known_leader))
}

/// Waits until `done` holds, the time runs out, or the agent stops. None: it held from the start.
pub async fn until(
    front: &Front,
    options: &Options,
    topics: impl FnOnce() -> Vec<Topic>,
    done: impl Fn(&State) -> bool,
) -> Result<Option<Arc<State>>, Failure> {
    let mut watch = front.cluster.watch(topics());
    if done(&front.cluster.snapshot()) {
        return Ok(None);
    }
    wait(front, &mut watch, options.wait, done).await.map(Some)
}

/// A sixteenth is added at random, so that queries that began together do not end together.
pub fn jittered(wait: Duration, fraction: f64) -> Duration {
    wait + (wait / 16).mul_f64(fraction)
}

async fn wait(
    front: &Front,
    watch: &mut Watch,
    time: Duration,
    mut done: impl FnMut(&State) -> bool,
) -> Result<Arc<State>, Failure> {
    let Ok(_place) = front.places.waiters.try_acquire() else { return Err(shared::too_many()) };
    let deadline = Instant::now() + jittered(time, rand::random_range(0.0..1.0));
    loop {
        let woken = tokio::select! {
            woken = timeout_at(deadline, watch.changed()) => woken.is_ok(),
            () = front.shutdown.begun() => false,
        };
        let state = front.cluster.snapshot();
        if !woken || done(&state) {
            return Ok(state);
        }
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
    let freshness = freshness(front, class, options, mark.index, known_leader);
    View { state, freshness }
}

/// What is said of how fresh an answer is.
pub fn freshness(
    front: &Front,
    class: Class,
    options: &Options,
    index: Index,
    known_leader: bool,
) -> Freshness {
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
    Freshness { index, known_leader, last_contact, effective }
}

/// Rows of a view.
pub fn respond<T: Serialize>(call: &Call<'_>, view: &View, rows: &T) -> Response<Body> {
    let mut response = answer::json(rows, call.pretty());
    answer::add_freshness(response.headers_mut(), &view.freshness);
    response
}

/// Whether there is a leader behind what is told of the servers, unless less is enough.
pub async fn led(front: &Front, options: &Options) -> Result<(), Failure> {
    match options.mode {
        Mode::Stale => drop(front.cluster.read(Consistency::Local).await?),
        Mode::Default | Mode::Consistent => drop(patience::read(&front.cluster).await?),
    }
    Ok(())
}

/// The state, and whether a leader stands behind it.
pub async fn fresh(
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
    // The cluster waits for a leader by itself, longer than a fallback should.
    let hold = if falls_back { CATALOG_HOLD } else { limits::LEADER_PATIENCE };
    let read = timeout(hold, patience::read(cluster)).await;
    match read.unwrap_or(Err(ReadError::NoLeader)) {
        Ok(state) => Ok((state, true)),
        Err(ReadError::NoLeader | ReadError::NoQuorum) if falls_back => {
            Ok((cluster.read(Consistency::Local).await?, false))
        }
        Err(error) => Err(error.into()),
    }
}

//! A server's side of a follower's stream: the tail after its position, or a snapshot and the tail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;

use crate::lifecycle::aside;
use crate::model::Applied;
use crate::net::peer::{Pushes, Streamer};
use crate::replica::{Fetch, Published, Replica};

use crate::state::Part;
use crate::telemetry::Gauge;

use super::wire::{CHUNK, Follow, Frame, Pulse};

/// Far below what a follower takes for death.
const PULSE: Duration = Duration::from_millis(200);
/// Entries in one frame.
const MOST: usize = 512;
/// Encoded changes in one frame.
const MOST_BYTES: usize = 4 << 20;

/// Serves followers from `replica`; `pulse` says how this server is right now, and nothing while
/// it has no place in a cluster.
pub(in crate::cluster) fn feeder(
    replica: Replica,
    followers: Gauge,
    pulse: impl Fn() -> Option<Pulse> + Send + Sync + 'static,
) -> Streamer {
    let pulse = Arc::new(pulse);
    Arc::new(move |_, ask: Bytes, pushes: Pushes| {
        let (replica, pulse, followers) = (replica.clone(), pulse.clone(), followers.clone());
        async move {
            let Ok(follow) = postcard::from_bytes::<Follow>(&ask) else { return };
            let _counted = Counted::new(followers);
            let mut feed = Feed { replica, pushes, pulse: &*pulse };
            if let Err(error) = feed.run(follow).await {
                tracing::debug!(%error, "a follower has gone");
            }
        }
        .boxed()
    })
}

/// Counts a follower for as long as it is served.
struct Counted(Gauge);

impl Counted {
    fn new(followers: Gauge) -> Counted {
        followers.inc();
        Counted(followers)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One follower being served.
struct Feed<'a, P> {
    replica: Replica,
    pushes: Pushes,
    pulse: &'a P,
}

impl<P: Fn() -> Option<Pulse> + Send + Sync> Feed<'_, P> {
    async fn run(&mut self, follow: Follow) -> io::Result<()> {
        self.beat().await?;
        // Subscribed before anything is read: nothing falls between.
        let mut tick = self.replica.feed().tick();
        let Some(mut position) = self.begin(follow).await? else { return Ok(()) };
        let mut beat = tokio::time::interval(PULSE);
        loop {
            let end = *tick.borrow_and_update();
            // A root is shown a moment before its entries are: then these are waited for.
            if position <= end {
                position = match self.replica.feed().after(position, MOST) {
                    Fetch::Snapshot => self.push_snapshot().await?,
                    Fetch::Tail(tail) if tail.is_empty() => position,
                    Fetch::Tail(tail) => self.push_tail(&tail).await?,
                };
                if position < end {
                    continue;
                }
            }
            tokio::select! {
                changed = tick.changed() => if changed.is_err() {
                    return Ok(());
                },
                _ = beat.tick() => self.beat().await?,
            }
        }
    }

    /// From where on the tail is to be pushed; none if this server has nothing for the follower.
    async fn begin(&mut self, follow: Follow) -> io::Result<Option<Applied>> {
        let state = self.replica.snapshot();
        let identity = state.identity();
        if !state.is_founded() {
            return Ok(None);
        }
        let known = (follow.cluster, follow.lineage) == (identity.cluster, identity.lineage);
        if !known || follow.applied == Applied::default() {
            return self.push_snapshot().await.map(Some);
        }
        if follow.applied > state.applied() {
            self.pushes.push(Frame::Behind(state.applied()).encode()).await?;
            return Ok(None);
        }
        Ok(Some(follow.applied))
    }

    async fn beat(&mut self) -> io::Result<()> {
        match (self.pulse)() {
            Some(pulse) => self.pushes.push(Frame::Pulse(pulse).encode()).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn push_tail(&mut self, tail: &[Arc<Published>]) -> io::Result<Applied> {
        for frame in frames(tail) {
            self.pushes.push(frame).await?;
        }
        Ok(tail.last().map(|last| last.changes.applied).unwrap_or_default())
    }

    async fn push_snapshot(&mut self) -> io::Result<Applied> {
        let state = self.replica.snapshot();
        let applied = state.applied();
        let mut encoded = aside(move || Bytes::from(state.encode(Part::Shared))).await?;
        self.pushes.push(Frame::Snapshot(encoded.len() as u64).encode()).await?;
        while !encoded.is_empty() {
            let chunk = encoded.split_to(encoded.len().min(CHUNK));
            self.pushes.push(Frame::Chunk(chunk).encode()).await?;
        }
        self.beat().await?;
        Ok(applied)
    }
}

/// The entries in as few frames as are not too long.
fn frames(tail: &[Arc<Published>]) -> Vec<Bytes> {
    let (mut frames, mut all, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in tail {
        let encoded = entry.encoded();
        if bytes > 0 && bytes + encoded.len() > MOST_BYTES {
            frames.push(Frame::Changes(std::mem::take(&mut all)).encode());
            bytes = 0;
        }
        bytes += encoded.len();
        all.push(encoded.clone());
    }
    frames.push(Frame::Changes(all).encode());
    frames
}

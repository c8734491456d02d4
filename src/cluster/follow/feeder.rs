//! The feeding side of a stream: the tail after a follower's position, or a snapshot and the tail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::time::{Instant, Interval, interval};

use crate::model::Applied;
use crate::net::peer::{Pushes, Streamer};
use crate::replica::{Fetch, Published, Replica};

use crate::telemetry::Gauge;

use super::picture::{Picture, Pictures};
use super::wire::{Follow, Frame, Pulse};

/// Far below what a follower takes for death.
const PULSE: Duration = Duration::from_millis(200);
/// Entries in one frame.
const MOST: usize = 512;
/// Encoded changes in one frame.
const MOST_BYTES: usize = 4 << 20;
/// For how long a snapshot is kept for others after it was pushed: many start together.
const KEEP: Duration = Duration::from_secs(5);

/// How this agent is right now, for those who follow it.
pub(in crate::cluster) struct Condition {
    pub pulse: Pulse,
    /// It has its changes first hand, and takes new followers.
    pub open: bool,
}

/// Serves followers from `replica`; `condition` says how this agent is right now, and nothing while
/// it has no place in a cluster.
pub(in crate::cluster) fn feeder(
    replica: Replica,
    followers: Gauge,
    condition: impl Fn() -> Option<Condition> + Send + Sync + 'static,
) -> Streamer {
    let (condition, pictures) = (Arc::new(condition), Arc::new(Pictures::default()));
    Arc::new(move |_, ask: Bytes, pushes: Pushes| {
        let (replica, pictures) = (replica.clone(), pictures.clone());
        let (condition, followers) = (condition.clone(), followers.clone());
        async move {
            let Ok(follow) = postcard::from_bytes::<Follow>(&ask) else { return };
            let _counted = Counted::new(followers);
            let (condition, beat) = (&*condition, interval(PULSE));
            let mut feed =
                Feed { replica, pictures, pushes, condition, beat, lineage: 0, kept: None };
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
struct Feed<'a, C> {
    replica: Replica,
    pictures: Arc<Pictures>,
    pushes: Pushes,
    condition: &'a C,
    beat: Interval,
    /// What the follower has is of this one.
    lineage: u64,
    /// The snapshot that was pushed, and when.
    kept: Option<(Arc<Picture>, Instant)>,
}

impl<C: Fn() -> Option<Condition> + Send + Sync> Feed<'_, C> {
    async fn run(&mut self, follow: Follow) -> io::Result<()> {
        if let Some(why) = self.declines(&follow) {
            return self.pushes.push(Frame::Declined(why).encode()).await;
        }
        self.pulse().await?;
        // Subscribed before anything is read: nothing falls between.
        let mut tick = self.replica.feed().tick();
        let mut agreed = self.replica.agreed();
        let Some(mut position) = self.begin(follow).await? else { return Ok(()) };
        loop {
            let end = *tick.borrow_and_update();
            if self.replica.snapshot().identity().lineage != self.lineage {
                position = self.push_snapshot(Applied::default()).await?;
                continue;
            }
            // A root is shown a moment before its entries are: then these are waited for.
            if position <= end {
                position = match self.replica.feed().after(position, MOST) {
                    Fetch::Snapshot => self.push_snapshot(position).await?,
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
                // Nobody waits for the very last word of an agent that ends.
                Ok(()) = agreed.changed() => {
                    let checksum = *agreed.borrow_and_update();
                    if let Some(checksum) = checksum {
                        self.pushes.push(Frame::Agreed(checksum).encode()).await?;
                    }
                }
                _ = self.beat.tick() => self.pulse().await?,
            }
        }
    }

    /// Why this agent takes no such follower now.
    fn declines(&self, follow: &Follow) -> Option<String> {
        match (self.condition)() {
            None => Some("this agent has no place in a cluster".to_owned()),
            Some(Condition { open: false, .. }) => {
                Some("this relay has lost whom it follows itself".to_owned())
            }
            Some(Condition { pulse, .. }) => super::choice::too_deep(follow.relay, &pulse.path),
        }
    }

    /// From where on the tail is to be pushed; none if there is nothing for the follower here.
    async fn begin(&mut self, follow: Follow) -> io::Result<Option<Applied>> {
        let state = self.replica.snapshot();
        let identity = state.identity();
        if !state.is_founded() {
            return Ok(None);
        }
        let known = (follow.cluster, follow.lineage) == (identity.cluster, identity.lineage);
        if !known || follow.applied == Applied::default() {
            return self.push_snapshot(Applied::default()).await.map(Some);
        }
        if follow.applied > state.applied() {
            self.pushes.push(Frame::Behind(state.applied()).encode()).await?;
            return Ok(None);
        }
        if follow.anew {
            return self.push_snapshot(follow.applied).await.map(Some);
        }
        self.lineage = identity.lineage;
        Ok(Some(follow.applied))
    }

    async fn pulse(&mut self) -> io::Result<()> {
        if self.kept.as_ref().is_some_and(|(_, since)| since.elapsed() > KEEP) {
            self.kept = None;
        }
        match (self.condition)() {
            Some(condition) => self.pushes.push(Frame::Pulse(condition.pulse).encode()).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn push_tail(&mut self, tail: &[Arc<Published>]) -> io::Result<Applied> {
        for frame in frames(tail) {
            self.pushes.push(frame).await?;
        }
        Ok(tail.last().map(|last| last.changes.applied).unwrap_or_default())
    }

    /// Pushes a snapshot that is not older than `least`; says of which position it is.
    async fn push_snapshot(&mut self, least: Applied) -> io::Result<Applied> {
        let pictures = self.pictures.clone();
        let replica = self.replica.clone();
        let taking = pictures.take(&replica, least);
        tokio::pin!(taking);
        // Encoding may take longer than a follower bears silence.
        let picture = loop {
            tokio::select! {
                picture = &mut taking => break picture?,
                _ = self.beat.tick() => self.pulse().await?,
            }
        };
        for frame in &picture.frames {
            self.pushes.push(frame.clone()).await?;
        }
        self.lineage = picture.lineage;
        let applied = picture.applied;
        self.kept = Some((picture, Instant::now()));
        self.pulse().await?;
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

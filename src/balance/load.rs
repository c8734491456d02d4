//! What is known of one endpoint: how fast it answers and how much it has to do right now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How fast an observation is forgotten: after this long it counts a third. Short, because one slow
/// answer of an endpoint that is asked seldom must not keep traffic from it for long.
const DECAY: Duration = Duration::from_secs(1);
/// What is known begins to fade after this long without an observation: not at once, or whoever has
/// little weight and so is asked seldom would look ever faster than it is.
const FRESH: Duration = Duration::from_secs(1);
/// Added to every latency, in nanoseconds: differences far below it are noise and must not decide,
/// and an endpoint never seen is as good as one that answers at once.
const FLOOR: f64 = 1_000_000.0;
/// What a failure to answer counts as.
const FAILURE: Duration = Duration::from_secs(1);

/// Shared by all who use the endpoint; every method takes `&self` and never waits. Two threads that
/// observe at the same moment may lose one of the two observations, which the next one mends.
#[derive(Debug, Default)]
pub struct Load {
    outstanding: AtomicU32,
    /// Peak EWMA of the latency in nanoseconds, as the bits of an `f64`.
    latency: AtomicU64,
    /// When `latency` was written, in nanoseconds of the caller's clock.
    stamped: AtomicU64,
}

impl Load {
    /// Requests (or connections) under way.
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Takes in one answer: a slower one counts at once (the peak), a faster one little by little.
    pub fn observe(&self, now: Duration, latency: Duration) {
        let seen = latency.as_nanos() as f64;
        let held = f64::from_bits(self.latency.load(Ordering::Relaxed));
        let next = if seen >= self.latency_at(now) {
            seen
        } else {
            let keep = left_after(self.age(now));
            held * keep + seen * (1.0 - keep)
        };
        self.latency.store(next.to_bits(), Ordering::Relaxed);
        self.stamped.store(nanos(now), Ordering::Relaxed);
    }

    /// The endpoint could not be reached or broke off.
    pub fn observe_failure(&self, now: Duration) {
        self.observe(now, FAILURE);
    }

    /// The smoothed latency in nanoseconds. It fades, so that an endpoint that was slow once is
    /// tried again.
    fn latency_at(&self, now: Duration) -> f64 {
        let held = f64::from_bits(self.latency.load(Ordering::Relaxed));
        held * left_after(self.age(now).saturating_sub(FRESH))
    }

    /// Since the last observation.
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.stamped.load(Ordering::Relaxed)))
    }

    /// What one more request would cost: its latency times the queue before it. `share` is the
    /// endpoint's weight over the mean weight: twice the weight may have twice the queue.
    pub(super) fn cost(&self, now: Duration, share: f64) -> f64 {
        (self.latency_at(now) + FLOOR) * (1.0 + f64::from(self.outstanding()) / share)
    }

    /// What is under way in proportion to the endpoint's share.
    pub(super) fn queue(&self, share: f64) -> f64 {
        f64::from(self.outstanding() + 1) / share
    }
}

/// The share of an observation that is left.
fn left_after(age: Duration) -> f64 {
    if age.is_zero() {
        return 1.0;
    }
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One request or connection under way, counted until dropped.
#[derive(Debug)]
pub struct Outstanding(Arc<Load>);

impl Outstanding {
    pub fn new(load: Arc<Load>) -> Outstanding {
        load.outstanding.fetch_add(1, Ordering::Relaxed);
        Outstanding(load)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

//! An immutable set of endpoints under one policy: pick one of them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::{Rng, RngExt};

use super::Load;
use super::weights::Weights;

/// How one of several endpoints is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Two at random, the one with the lower latency and queue (Mitzenmacher's "power of two
    /// choices" over a peak-sensitive moving average).
    #[default]
    P2c,
    /// The one with the fewest requests under way.
    LeastRequest,
    /// One after the other.
    RoundRobin,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::P2c => "p2c",
            Policy::LeastRequest => "least_request",
            Policy::RoundRobin => "round_robin",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was written names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to balance: use p2c, least_request or round_robin")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        [Policy::P2c, Policy::LeastRequest, Policy::RoundRobin]
            .into_iter()
            .find(|policy| policy.as_str() == s)
            .ok_or_else(|| UnknownPolicy(s.to_owned()))
    }
}

/// What a set needs to know of its members.
pub trait Member {
    /// Share of the traffic in proportion to the others'.
    fn weight(&self) -> u16;
    fn load(&self) -> &Load;
}

#[derive(Debug)]
pub struct Set<T> {
    members: Box<[T]>,
    weights: Weights,
    policy: Policy,
    turn: AtomicU64,
}

impl<T: Member> Set<T> {
    pub fn new(policy: Policy, members: Vec<T>) -> Set<T> {
        let weights: Vec<u16> = members.iter().map(Member::weight).collect();
        Set {
            weights: Weights::new(&weights),
            members: members.into_boxed_slice(),
            policy,
            turn: AtomicU64::new(0),
        }
    }

    pub fn members(&self) -> &[T] {
        &self.members
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One member of which `usable` holds; none where it holds of none. `now` is any clock that
    /// never goes back, the same as the one given to the members' loads.
    pub fn pick(
        &self,
        now: Duration,
        rng: &mut impl Rng,
        usable: impl Fn(&T) -> bool,
    ) -> Option<&T> {
        let position = match self.policy {
            Policy::P2c => self.p2c(now, rng),
            Policy::LeastRequest => self.least_request(rng),
            Policy::RoundRobin => self.weights.turn(self.turn.fetch_add(1, Ordering::Relaxed)),
        };
        let picked = self.members.get(position?)?;
        if usable(picked) { Some(picked) } else { self.cheapest(now, usable) }
    }

    /// The first is drawn by weight, so that equal endpoints get exactly their shares; a second,
    /// cheaper one takes its place with a chance that grows with the advantage (a tenth cheaper:
    /// 27 of 100, half the price: 87, a tenth of the price: always). A chance rather than a rule
    /// keeps many balancers from rushing to the same endpoint at once.
    fn p2c(&self, now: Duration, rng: &mut impl Rng) -> Option<usize> {
        let first = self.weights.draw(rng)?;
        let Some(second) = self.weights.draw_other(first, rng) else { return Some(first) };
        let ratio = self.cost(second, now) / self.cost(first, now);
        let stays = ratio >= 1.0 || rng.random::<f64>() < ratio.powi(3);
        Some(if stays { first } else { second })
    }

    fn cost(&self, position: usize, now: Duration) -> f64 {
        let share = self.weights.share(position);
        match self.members.get(position) {
            Some(member) if share > 0.0 => member.load().cost(now, share),
            _ => f64::INFINITY,
        }
    }

    /// Begins anywhere, so that endpoints that are equally idle are chosen equally often.
    fn least_request(&self, rng: &mut impl Rng) -> Option<usize> {
        let len = self.members.len();
        let begin = self.weights.draw(rng)?;
        let mut best = (begin, f64::INFINITY);
        for position in (begin..len).chain(0..begin) {
            let Some(member) = self.members.get(position) else { continue };
            let queue = member.load().queue(self.weights.share(position));
            if queue < best.1 {
                best = (position, queue);
            }
        }
        Some(best.0)
    }

    /// For a second try: the best of what is left, those of weight 0 last.
    fn cheapest(&self, now: Duration, usable: impl Fn(&T) -> bool) -> Option<&T> {
        let mut best: Option<(f64, &T)> = None;
        for (position, member) in self.members.iter().enumerate() {
            if !usable(member) {
                continue;
            }
            let cost = self.cost(position, now);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, member));
            }
        }
        best.map(|(_, member)| member)
    }
}

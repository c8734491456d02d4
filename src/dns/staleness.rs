//! How far the agent's state can be relied on: in touch, out of touch, for too long, or never.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::lifecycle::{Level, Life};
use crate::model::limits;

use super::counts::Counts;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);
const SUBJECT: &str = "dns/staleness";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The state was never received.
    Nothing,
    Current,
    /// Without contact for so long that answers say so.
    Stale,
    /// Without contact for longer than is allowed.
    Expired,
}

impl Freshness {
    /// Of a state that was received once.
    fn of(last_contact: Duration, max_stale: Option<Duration>) -> Freshness {
        match max_stale {
            Some(max) if last_contact > max => Freshness::Expired,
            _ if last_contact > limits::DNS_STALE => Freshness::Stale,
            _ => Freshness::Current,
        }
    }
}

/// Shared by all who answer; read for every burst.
#[derive(Clone)]
pub struct Staleness {
    max_stale: Option<Duration>,
    /// Once the agent has the state, it keeps it.
    synced: Arc<AtomicBool>,
    /// How it was found last time.
    found: Arc<AtomicU8>,
}

impl Staleness {
    pub fn new(max_stale: Option<Duration>) -> Staleness {
        Staleness { max_stale, synced: Arc::default(), found: Arc::default() }
    }

    /// `is_synced` is asked until it once says yes.
    pub fn now(&self, is_synced: impl FnOnce() -> bool) -> Freshness {
        if !self.synced.load(Ordering::Relaxed) {
            if !is_synced() {
                return Freshness::Nothing;
            }
            self.synced.store(true, Ordering::Relaxed);
        }
        match self.found.load(Ordering::Relaxed) {
            0 => Freshness::Current,
            1 => Freshness::Stale,
            _ => Freshness::Expired,
        }
    }

    fn find(&self, last_contact: Duration) -> Freshness {
        let found = Freshness::of(last_contact, self.max_stale);
        let number = match found {
            Freshness::Nothing | Freshness::Current => 0,
            Freshness::Stale => 1,
            Freshness::Expired => 2,
        };
        self.found.store(number, Ordering::Relaxed);
        found
    }
}

/// Looks until the shutdown: for the metric, the board, and those who answer.
pub async fn watch(staleness: Staleness, cluster: Cluster, counts: Counts, life: Life) {
    let look = async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            let standing = cluster.standing();
            counts.staleness.set(standing.last_contact.as_secs_f64());
            match staleness.find(standing.last_contact) {
                Freshness::Expired => {
                    let max = staleness.max_stale.unwrap_or_default();
                    let text = format!(
                        "out of touch with the cluster for longer than dns.max_stale ({max:?}): \
                         names are answered with SERVFAIL"
                    );
                    life.board.set(SUBJECT, Level::Failed, text);
                }
                Freshness::Stale => {
                    let text = "out of touch with the cluster: answers may be out of date";
                    life.board.set(SUBJECT, Level::Warning, text);
                }
                Freshness::Nothing | Freshness::Current => life.board.clear(SUBJECT),
            }
        }
    };
    let _: Option<()> = life.shutdown.or(look).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_stale_and_then_too_stale() {
        let second = Duration::from_secs(1);
        let bounded = Staleness::new(Some(30 * second));
        assert_eq!(bounded.now(|| false), Freshness::Nothing);
        assert_eq!(bounded.now(|| true), Freshness::Current);
        for (contact, want) in [
            (limits::DNS_STALE, Freshness::Current),
            (limits::DNS_STALE + second, Freshness::Stale),
            (30 * second, Freshness::Stale),
            (31 * second, Freshness::Expired),
            (Duration::ZERO, Freshness::Current),
        ] {
            bounded.find(contact);
            assert_eq!(bounded.now(|| unreachable!()), want, "{contact:?}");
        }
        assert_eq!(Staleness::new(None).find(1000 * limits::DNS_STALE), Freshness::Stale);
        // A bound below that is kept, too.
        let strict = Staleness::new(Some(second));
        assert_eq!(strict.find(2 * second), Freshness::Expired);
    }
}

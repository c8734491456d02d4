//! Cluster time: what a leader stamps its proposals with.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::model::Stamp;

/// The state's time when the first entry of a term was applied, and the local moment of it.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    term: u64,
    stamp: Stamp,
    at: Instant,
}

/// Runs from the moment the leader applied its term's first entry. Without a leader nobody stamps,
/// and so time stands still.
#[derive(Debug, Default)]
pub(super) struct ClusterClock {
    anchor: Mutex<Option<Anchor>>,
}

impl ClusterClock {
    /// An entry of `term` was applied, after which the state's time is `stamp`.
    pub(super) fn note(&self, term: u64, stamp: Stamp, now: Instant) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        if anchor.is_none_or(|anchor| anchor.term != term) {
            *anchor = Some(Anchor { term, stamp, at: now });
        }
    }

    /// The time for a proposal in `term`; never less than the state's own.
    pub(super) fn stamp(&self, term: u64, state: Stamp, now: Instant) -> Stamp {
        let anchor = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        match anchor {
            Some(anchor) if anchor.term == term => {
                state.max(anchor.stamp.plus(now.saturating_duration_since(anchor.at)))
            }
            // This term's first entry is not applied yet: its time has not begun.
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_runs_from_the_terms_first_entry() {
        let clock = ClusterClock::default();
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.stamp(2, Stamp(500), start), Stamp(500));
        clock.note(2, Stamp(500), start);
        clock.note(2, Stamp(700), later(100));
        assert_eq!(clock.stamp(2, Stamp(500), later(300)), Stamp(800));
    }

    #[test]
    fn time_never_falls_behind_the_state() {
        let clock = ClusterClock::default();
        let start = Instant::now();
        clock.note(2, Stamp(500), start);
        assert_eq!(clock.stamp(2, Stamp(900), start), Stamp(900));
    }

    #[test]
    fn time_without_a_leader_does_not_count() {
        let clock = ClusterClock::default();
        let start = Instant::now();
        clock.note(2, Stamp(500), start);
        let hour = start + Duration::from_secs(3600);
        assert_eq!(clock.stamp(3, Stamp(510), hour), Stamp(510));
        clock.note(3, Stamp(510), hour);
        assert_eq!(clock.stamp(3, Stamp(510), hour + Duration::from_millis(5)), Stamp(515));
    }
}

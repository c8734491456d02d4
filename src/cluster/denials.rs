//! Decides who was denied so often that it has to wait before it may try again. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::limits;

/// Denials that are free, and how fast they become free again.
const BURST: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// Times are durations since the agent's start.
#[derive(Default)]
pub(super) struct Denials {
    /// For each address, when all of its denials will be forgotten.
    until: BTreeMap<IpAddr, Duration>,
    /// For all those together that found no room in the table.
    crowd: Duration,
}

impl Denials {
    /// Whether somebody at that address may try now.
    pub fn may_try(&self, from: IpAddr, now: Duration) -> bool {
        let until = self.until.get(&from).copied().unwrap_or_default();
        let crowded = self.until.len() >= limits::DENIALS && !self.until.contains_key(&from);
        let until = if crowded { self.crowd } else { until };
        until.saturating_sub(now) + PAUSE <= PAUSE * BURST
    }

    /// Somebody at that address was denied.
    pub fn note(&mut self, from: IpAddr, now: Duration) {
        if self.until.len() >= limits::DENIALS {
            self.until.retain(|_, until| *until > now);
        }
        let until = if self.until.len() < limits::DENIALS || self.until.contains_key(&from) {
            self.until.entry(from).or_default()
        } else {
            &mut self.crowd
        };
        *until = (*until).max(now) + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn who_is_denied_too_often_waits_and_nobody_else_does() {
        let (mut denials, mut now) = (Denials::default(), Duration::from_secs(100));
        for _ in 0..BURST {
            assert!(denials.may_try(at(1), now));
            denials.note(at(1), now);
        }
        assert!(!denials.may_try(at(1), now));
        assert!(denials.may_try(at(2), now));
        now += PAUSE;
        assert!(!denials.may_try(at(1), now - Duration::from_millis(1)));
        assert!(denials.may_try(at(1), now + Duration::from_millis(1)), "one try each pause");
    }

    #[test]
    fn the_table_is_bounded_and_those_without_room_share_one_line() {
        let (mut denials, now) = (Denials::default(), Duration::from_secs(100));
        for n in 0..u32::try_from(limits::DENIALS).unwrap() + BURST {
            denials.note(at(n), now);
        }
        assert_eq!(denials.until.len(), limits::DENIALS);
        assert!(!denials.may_try(at(u32::MAX), now), "the crowd has used up its tries");
        assert!(denials.may_try(at(5), now), "who is in the table has not");
        let later = now + PAUSE + PAUSE;
        denials.note(at(u32::MAX), later);
        assert!(denials.until.len() == 1, "what is over makes room");
    }
}

//! How many queries a second one source may send: answers beyond loopback can be turned on others.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::model::limits;

/// Slots in which one source may stand.
const WAYS: usize = 4;
/// A source may save up what it did not ask for so long.
const BURST: Duration = Duration::from_secs(1);

/// A table of a fixed size: who floods us from many addresses fills it, and costs no more memory.
pub struct Rates {
    /// What one query costs; none: nobody is held up.
    interval: Option<Duration>,
    /// Keeps others from choosing addresses that share a slot.
    seed: u64,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    source: u64,
    /// When everything that it asked for is paid.
    paid: Duration,
}

impl Rates {
    /// `limit` queries a second; 0: as many as they like.
    pub fn new(limit: u32, seed: u64) -> Rates {
        let interval = (limit > 0).then(|| Duration::from_secs(1) / limit);
        Rates { interval, seed, slots: Vec::new() }
    }

    /// Whether the source may be answered in full at a time that never goes back.
    pub fn admit(&mut self, source: IpAddr, now: Duration) -> bool {
        let Some(interval) = self.interval else { return true };
        if self.slots.is_empty() {
            self.slots.resize(limits::DNS_SOURCES, Slot::default());
        }
        let source = self.number(source);
        let set = (source as usize % (self.slots.len() / WAYS)) * WAYS;
        let Some(ways) = self.slots.get_mut(set..set + WAYS) else { return true };
        let known = ways.iter().position(|slot| slot.source == source);
        // A stranger takes the place of who has been silent for longest.
        let place = known.or_else(|| (0..WAYS).min_by_key(|way| ways.get(*way).map(|s| s.paid)));
        let Some(slot) = place.and_then(|way| ways.get_mut(way)) else { return true };
        if known.is_none() {
            *slot = Slot { source, paid: now };
        }
        let paid = slot.paid.max(now) + interval;
        let admitted = paid <= now + BURST.max(interval);
        if admitted {
            slot.paid = paid;
        }
        admitted
    }

    /// A host, or a network of IPv6: hosts have many addresses there.
    fn number(&self, source: IpAddr) -> u64 {
        let bits = match source.to_canonical() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
        };
        let mut hasher = DefaultHasher::new();
        (self.seed, bits).hash(&mut hasher);
        // 0 is an empty slot.
        hasher.finish() | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn admitted(rates: &mut Rates, source: IpAddr, now: Duration, tries: usize) -> usize {
        (0..tries).filter(|_| rates.admit(source, now)).count()
    }

    #[test]
    fn a_source_has_what_it_saved_up_and_then_its_rate() {
        let mut rates = Rates::new(100, 7);
        let start = Duration::from_secs(1000);
        assert_eq!(admitted(&mut rates, A, start, 500), 100);
        assert_eq!(admitted(&mut rates, A, start + Duration::from_millis(500), 500), 50);
        assert_eq!(admitted(&mut rates, A, start + Duration::from_secs(100), 500), 100);
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(admitted(&mut rates, other, start, 500), 100);
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert!(!rates.admit(mapped, start + Duration::from_secs(100)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut rates = Rates::new(10, 7);
        let ip = |net, host| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, net, 0, 0, 0, host));
        let now = Duration::ZERO;
        assert_eq!((0..50).filter(|host| rates.admit(ip(1, *host), now)).count(), 10);
        assert!(rates.admit(ip(2, 0), now));
    }

    #[test]
    fn a_flood_from_everywhere_does_not_free_who_asks_too_much() {
        let mut rates = Rates::new(10, 7);
        assert_eq!(admitted(&mut rates, A, Duration::ZERO, 50), 10);
        for nth in 0..1000 {
            rates.admit(IpAddr::V4(Ipv4Addr::from_bits(nth * 7919)), Duration::ZERO);
        }
        assert_eq!(admitted(&mut rates, A, Duration::ZERO, 50), 0);
        assert_eq!(rates.slots.len(), limits::DNS_SOURCES);
    }

    #[test]
    fn without_a_limit_nobody_is_held_up() {
        assert_eq!(admitted(&mut Rates::new(0, 7), A, Duration::ZERO, 5000), 5000);
    }
}

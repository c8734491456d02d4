//! How many connections may be on their way in at a time: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::limits;

#[derive(Clone, Default)]
pub(super) struct Knocks {
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection that has not said hello yet.
pub(super) struct Knock {
    knocks: Knocks,
    from: IpAddr,
}

impl Knocks {
    /// None: too many are at the door already, or too many from there.
    pub fn knock(&self, from: IpAddr) -> Option<Knock> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = waiting.values().sum();
        let own = waiting.get(&from).copied().unwrap_or_default();
        if all >= limits::PEER_HANDSHAKES || own >= limits::PEER_HANDSHAKES_FROM_ONE {
            return None;
        }
        waiting.insert(from, own + 1);
        drop(waiting);
        Some(Knock { knocks: self.clone(), from })
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut waiting = self.knocks.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                waiting.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places_and_all_places_are_bounded() {
        let knocks = Knocks::default();
        let from = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let per = limits::PEER_HANDSHAKES_FROM_ONE;
        let mut held: Vec<Knock> = (0..per).map(|_| knocks.knock(from(1)).unwrap()).collect();
        assert!(knocks.knock(from(1)).is_none());
        for n in 0..limits::PEER_HANDSHAKES - per {
            held.push(knocks.knock(from(2 + n)).unwrap());
        }
        assert!(knocks.knock(from(0)).is_none(), "no room at all");
        held.remove(0);
        assert!(knocks.knock(from(1)).is_some());
        held.clear();
        assert!(knocks.waiting.lock().unwrap().is_empty(), "nothing is left behind");
    }
}

//! Locks and elections: a script knows whose turn it is, so that it knows who waits.

use rand::RngExt as _;

use bytes::Bytes;

use crate::proto::{
    CampaignRequest, DeleteRangeRequest, LeaderKey, LeaderRequest, LeaseGrantRequest,
    LeaseRevokeRequest, LockRequest, ProclaimRequest, RangeRequest, ResignRequest, UnlockRequest,
};
use crate::script::{ANSWERED, ORIGIN, Place, Step, place_key};

use super::Generator;

const LEASES: std::ops::Range<i64> = 1..6;
const TTL: i64 = 600;

#[derive(Clone, Copy)]
struct Waiter {
    lease: i64,
    slot: usize,
    /// Its lease is gone; it learns of it when its turn would have come.
    dead: bool,
}

struct Line {
    name: Bytes,
    election: bool,
    waiters: Vec<Waiter>,
    slots: usize,
    observed: bool,
}

impl Generator {
    pub fn locks(&mut self) {
        self.hold(false);
    }

    pub fn elections(&mut self) {
        self.hold(true);
    }

    fn hold(&mut self, election: bool) {
        for id in LEASES {
            self.steps.push(Step::Grant(LeaseGrantRequest { ttl: TTL, id }));
        }
        let name = self.pick(&[&b"job"[..], b"a/b/", b"", b"\xff"]);
        let name = Bytes::from_static(name);
        let (waiters, slots, observed) = (Vec::new(), 0, false);
        let mut line = Line { name, election, waiters, slots, observed };
        for _ in 0..self.count() {
            match self.dice.random_range(0..20) {
                0..7 => self.enter(&mut line),
                7..11 => self.release(&mut line),
                11 => self.kill_waiter(&mut line),
                12 => self.give_up(&mut line),
                13..16 if election => self.proclaim(&mut line),
                16 if election => self.observe(&mut line),
                17 => self.wrong(&line),
                _ => self.look(&line),
            }
        }
        // Its lease has no name that the script could know.
        if line.waiters.is_empty() && self.chance(0.5) {
            let place = line.place(0, "drawn");
            self.steps.push(Step::Queue { slot: line.slots, place, waits: false });
        }
    }

    fn look(&mut self, line: &Line) {
        let (key, range_end) =
            (line.key(0).slice(..line.name.len() + 1), Bytes::from_static(b"\0"));
        let all = RangeRequest { key, range_end, ..RangeRequest::default() };
        self.steps.push(Step::Range(all));
        if line.election {
            self.steps.push(Step::Leader(LeaderRequest { name: line.name.clone() }));
        }
    }

    fn enter(&mut self, line: &mut Line) {
        let lease = self.dice.random_range(LEASES);
        let known = line.waiters.iter().position(|waiter| waiter.lease == lease);
        // Who waits already would wait twice, and a leader that asks again may tell observers
        // something new or not; a lease that is gone has a word of its own.
        let gone = !self.is_granted(lease);
        let again = known == Some(0) && line.observed;
        if again || known.is_some_and(|place| place > 0) {
            return;
        }
        let waits = known.is_none() && !line.waiters.is_empty() && !gone;
        let value = self.pick(&["one", "two", ""]);
        let slot = line.slots;
        line.slots += 1;
        self.steps.push(Step::Queue { slot, place: line.place(lease, value), waits });
        if known.is_none() && !gone {
            line.waiters.push(Waiter { lease, slot, dead: false });
            if !waits && line.observed {
                self.steps.push(Step::Observed);
            }
        }
    }

    fn is_granted(&self, lease: i64) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Revoke(revoke) if revoke.id == lease))
    }

    fn release(&mut self, line: &mut Line) {
        if line.waiters.is_empty() {
            return;
        }
        let holder = line.waiters.remove(0);
        let key = line.key(holder.lease);
        let step = match self.dice.random_range(0..4) {
            0 => Step::Revoke(LeaseRevokeRequest { id: holder.lease }),
            1 => Step::Delete(DeleteRangeRequest { key, ..DeleteRangeRequest::default() }),
            _ if line.election => {
                let leader = line.leader(holder.lease);
                Step::Resign(ResignRequest { leader: Some(leader) })
            }
            _ => Step::Unlock(UnlockRequest { key }),
        };
        self.steps.push(step);
        while line.waiters.first().is_some_and(|waiter| waiter.dead) {
            let dead = line.waiters.remove(0);
            self.steps.push(Step::Turn { slot: dead.slot, gone: true });
        }
        if let Some(next) = line.waiters.first() {
            self.steps.push(Step::Turn { slot: next.slot, gone: false });
            if line.observed {
                self.steps.push(Step::Observed);
            }
        }
    }

    fn kill_waiter(&mut self, line: &mut Line) {
        if line.waiters.len() < 2 {
            return;
        }
        let place = self.dice.random_range(1..line.waiters.len());
        if !line.waiters[place].dead {
            line.waiters[place].dead = true;
            let id = line.waiters[place].lease;
            self.steps.push(Step::Revoke(LeaseRevokeRequest { id }));
        }
    }

    fn give_up(&mut self, line: &mut Line) {
        let last = line.waiters.len().saturating_sub(1);
        if last > 0 && !line.waiters[last].dead {
            let waiter = line.waiters.remove(last);
            self.steps.push(Step::Abandon(waiter.slot));
        }
    }

    fn proclaim(&mut self, line: &mut Line) {
        let Some(holder) = line.waiters.first() else { return };
        let value = Bytes::from_static(self.pick(&[b"three", b"fours"]));
        let leader = Some(line.leader(holder.lease));
        self.steps.push(Step::Proclaim(ProclaimRequest { leader, value }));
        if line.observed {
            self.steps.push(Step::Observed);
        }
    }

    fn observe(&mut self, line: &mut Line) {
        if !line.observed && !line.waiters.is_empty() {
            line.observed = true;
            self.steps.push(Step::Observe(LeaderRequest { name: line.name.clone() }));
        }
    }

    /// What nobody should ask.
    fn wrong(&mut self, line: &Line) {
        let key = line.key(77);
        let mut leader = line.leader(77);
        leader.rev = ORIGIN;
        let step = match (self.dice.random_range(0..4), line.election) {
            (0, false) => Step::Unlock(UnlockRequest { key: Bytes::new() }),
            (1, false) => Step::Unlock(UnlockRequest { key }),
            (0, true) => Step::Proclaim(ProclaimRequest::default()),
            (1, true) => Step::Resign(ResignRequest::default()),
            (2, true) => {
                let value = Bytes::from_static(b"no");
                Step::Proclaim(ProclaimRequest { leader: Some(leader), value })
            }
            (3, true) => Step::Resign(ResignRequest { leader: Some(leader) }),
            _ => Step::Queue { slot: 99, place: line.place(77, "no"), waits: false },
        };
        self.steps.push(step);
    }
}

impl Line {
    fn key(&self, lease: i64) -> Bytes {
        place_key(&self.name, lease)
    }

    fn place(&self, lease: i64, value: &'static str) -> Place {
        let name = self.name.clone();
        if self.election {
            Place::Campaign(CampaignRequest {
                name,
                lease,
                value: Bytes::from_static(value.as_bytes()),
            })
        } else {
            Place::Lock(LockRequest { name, lease })
        }
    }

    fn leader(&self, lease: i64) -> LeaderKey {
        LeaderKey { name: self.name.clone(), key: self.key(lease), rev: ANSWERED, lease }
    }
}

//! Leases and sessions that are kept alive for a while, mostly through one agent, and then left to
//! end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use remora::cluster::{Alive, Beat};
use remora::lifecycle::chance::Dice;
use remora::model::{LeaseId, SessionId};
use remora::state::{Behavior, CatalogOp, Command, NodeDef, Outcome, SessionDef, Settings, State};

use super::clock::{Now, micros};
use super::history::{Lease, Micros};
use super::host::Host;
use super::trace::Trace;

const COUNT: usize = 6;
/// How often the hosts are looked at.
const PACE: Duration = Duration::from_millis(12);
const TTLS: std::ops::Range<u64> = 1200..2500;

enum Told {
    Granted,
    Refused,
    Alive,
    Gone,
    Nothing,
}

type Desk = Arc<Mutex<Vec<(i64, Micros, Told)>>>;

/// What is kept alive: one is the other's twin, but for who may make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Lease(LeaseId),
    Session(SessionId),
}

/// The node that sessions live by: no agent runs it, so nothing else ends them.
const NODE: &str = "s";

impl Thing {
    fn is_in(self, state: &State) -> bool {
        match self {
            Thing::Lease(id) => state.lease(id).is_some(),
            Thing::Session(id) => state.session(id).is_some(),
        }
    }

    fn beat(self) -> Beat {
        match self {
            Thing::Lease(id) => Beat::Lease(id),
            Thing::Session(id) => Beat::Session(id),
        }
    }

    /// What is to live for so long is made by these, one after the other.
    fn made(self, lives: Duration) -> Vec<Command> {
        match self {
            Thing::Lease(id) => vec![Command::LeaseGrant { id, ttl: lives }],
            Thing::Session(id) => {
                let node = CatalogOp::PutNode(NodeDef {
                    name: NODE.into(),
                    agent: None,
                    uuid: String::new(),
                    address: "10.0.0.1".into(),
                    tagged_addresses: Default::default(),
                    meta: Default::default(),
                    presence_ttl: Duration::ZERO,
                });
                let session = SessionDef {
                    id,
                    name: String::new(),
                    node: NODE.into(),
                    behavior: Behavior::Release,
                    ttl: Some(lives / Settings::default().session_factor),
                    ttl_text: String::new(),
                    lock_delay: 0,
                    node_checks: Vec::new(),
                    service_checks: None,
                    checks: Vec::new(),
                };
                vec![Command::Catalog(vec![node]), Command::SessionCreate(session)]
            }
        }
    }
}

struct Keeper {
    id: i64,
    thing: Thing,
    lease: Lease,
    granted: bool,
    /// Keep-alives still to be sent.
    left: u32,
    next: Now,
    /// A call through this host is under way.
    busy: Option<usize>,
    /// Hosts that have shown it since they started.
    shown: BTreeSet<usize>,
    ended: bool,
}

#[derive(Default)]
pub struct Leases {
    keepers: Vec<Keeper>,
    desk: Desk,
    next: i64,
    looked: Now,
    pub done: Vec<Lease>,
    pub renewals: u64,
}

impl Leases {
    pub fn step(&mut self, now: Now, open: bool, hosts: &[Host], trace: &mut Trace) {
        while open && self.keepers.len() < COUNT {
            self.begin(now);
        }
        self.take_in(trace);
        if self.looked + PACE <= now {
            self.looked = now;
            self.look(hosts, trace);
        }
        // Who waits for an answer may hear yet that the lease lived when it had ended.
        let (finished, keepers): (Vec<_>, Vec<_>) = std::mem::take(&mut self.keepers)
            .into_iter()
            .partition(|keeper| keeper.ended && keeper.busy.is_none());
        self.keepers = keepers;
        self.done.extend(finished.into_iter().map(|keeper| keeper.lease));
        for keeper in &mut self.keepers {
            if !keeper.ended && keeper.busy.is_none() && keeper.next <= now {
                keeper.call(now, open, hosts, &self.desk);
            }
        }
    }

    fn begin(&mut self, now: Now) {
        self.next += 1;
        let ttl = Dice.random_range(TTLS);
        let (name, thing) = match self.next % 2 {
            0 => ("s", Thing::Session(SessionId(u128::from(self.next.unsigned_abs())))),
            _ => ("l", Thing::Lease(LeaseId(self.next))),
        };
        let name = format!("{name}{}", self.next);
        let lease = Lease { name, ttl: ttl * 1000, ..Lease::default() };
        self.keepers.push(Keeper {
            id: self.next,
            thing,
            lease,
            granted: false,
            left: Dice.random_range(0..20),
            next: now + Duration::from_millis(Dice.random_range(0..500)),
            busy: None,
            shown: BTreeSet::new(),
            ended: false,
        });
    }

    fn take_in(&mut self, trace: &mut Trace) {
        for (id, called, told) in std::mem::take(&mut *self.desk.lock().unwrap()) {
            let Some(keeper) = self.keepers.iter_mut().find(|keeper| keeper.id == id) else {
                continue;
            };
            keeper.busy = None;
            let what = match told {
                Told::Granted => {
                    keeper.granted = true;
                    keeper.lease.renewed.push(called);
                    "granted"
                }
                Told::Alive => {
                    self.renewals += 1;
                    keeper.lease.renewed.push(called);
                    "alive"
                }
                Told::Gone => {
                    keeper.lease.gone.get_or_insert(micros());
                    keeper.ended = true;
                    "gone"
                }
                Told::Refused => {
                    keeper.ended = true;
                    "refused"
                }
                Told::Nothing => "no answer",
            };
            trace.note(format!("{} called {called}: {what}", keeper.lease.name));
        }
    }

    /// Who has shown a lease and shows it no more has seen it end.
    fn look(&mut self, hosts: &[Host], trace: &mut Trace) {
        for keeper in self.keepers.iter_mut().filter(|keeper| !keeper.ended) {
            for host in hosts {
                let Some(cluster) = host.cluster() else { continue };
                let there = keeper.thing.is_in(&cluster.snapshot());
                if there {
                    keeper.shown.insert(host.index);
                } else if keeper.shown.contains(&host.index) {
                    keeper.lease.gone.get_or_insert(micros());
                    keeper.ended = true;
                    trace.note(format!("{} has ended on h{}", keeper.lease.name, host.index));
                    break;
                }
            }
        }
    }

    /// A host is gone: what it shows next may be older, and what was asked of it is lost.
    pub fn lose(&mut self, host: usize, now: Now) {
        for keeper in &mut self.keepers {
            keeper.shown.remove(&host);
            if keeper.busy == Some(host) {
                keeper.busy = None;
                keeper.next = now + Duration::from_millis(50);
                keeper.ended |= !keeper.granted;
            }
        }
    }

    /// Those that nobody keeps alive any more and that have not ended, by name.
    pub fn left(&self) -> Vec<String> {
        let living = |keeper: &&Keeper| !keeper.ended && !keeper.shown.is_empty();
        let granted = self.keepers.iter().filter(living);
        granted.map(|keeper| keeper.lease.name.clone()).collect()
    }

    pub fn all(&mut self) -> Vec<Lease> {
        let open = self.keepers.iter().map(|keeper| keeper.lease.clone());
        self.done.iter().cloned().chain(open).collect()
    }
}

impl Keeper {
    /// Mostly at home: where one agent is cut off, who keeps leases alive through it goes on.
    fn host(&self, hosts: &[Host]) -> usize {
        let home = usize::try_from(self.id).unwrap() % hosts.len();
        if Dice.random_bool(0.1) { Dice.random_range(0..hosts.len()) } else { home }
    }

    fn call(&mut self, now: Now, open: bool, hosts: &[Host], desk: &Desk) {
        let host = self.host(hosts);
        let Some(cluster) = hosts[host].cluster().cloned() else { return };
        if (!open || self.left == 0) && self.granted {
            return;
        }
        // Now and then so late that the end is being decided.
        let late = Dice.random_bool(0.1);
        let thirds = if late { Dice.random_range(2.7..3.5) } else { 1.0 };
        self.next = now + Duration::from_micros(self.lease.ttl / 3).mul_f64(thirds);
        self.busy = Some(host);
        let (id, called, desk) = (self.id, micros(), desk.clone());
        let thing = self.thing;
        if !self.granted {
            let commands = thing.made(Duration::from_micros(self.lease.ttl));
            hosts[host].spawn(async move {
                let mut told = Told::Granted;
                for command in commands {
                    if matches!(cluster.propose(command).await, Ok(Outcome::Refused(_)) | Err(_)) {
                        told = Told::Refused;
                        break;
                    }
                }
                desk.lock().unwrap().push((id, called, told));
            });
            return;
        }
        self.left -= 1;
        hosts[host].spawn(async move {
            let told = match cluster.keep_alive(thing.beat()).await {
                Ok(Alive::For(_)) => Told::Alive,
                Ok(Alive::Gone) => Told::Gone,
                Err(_) => Told::Nothing,
            };
            desk.lock().unwrap().push((id, called, told));
        });
    }
}

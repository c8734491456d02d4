//! One run of a cluster under faults: from its founding to the proof that nothing was lost.

use std::time::Duration;

use rand::RngExt;
use remora::cluster::RaftRole;
use remora::identity::Offline;
use remora::lifecycle::chance::{self, Dice};
use remora::model::{NodeId, Role};
use remora::state::{Part, State};

use super::clients::{Clients, at};
use super::clock::{self, Now};
use super::faults::{self, Fault, Faults};
use super::host::Host;
use super::leases::Leases;
use super::net::Net;
use super::trace::Trace;
use super::watchdog::{Watchdog, listen_for_panics};
use super::watchers::Watchers;

/// Hosts run in turns of this length.
pub const TICK: Duration = Duration::from_millis(4);
/// Writes acknowledged before the first fault.
const WARM: usize = 50;
/// How long the faults go on.
const ROUGH: std::ops::Range<u64> = 4_000..8_000;
/// How long a healthy cluster may take to found itself, or to come to itself again.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a run comes to.
pub struct Report {
    pub seed: u64,
    pub trace: Vec<String>,
    pub wrong: Vec<String>,
    pub virtual_time: Duration,
    pub faults: u64,
    pub operations: usize,
    pub acknowledged: usize,
    pub renewals: u64,
    pub elections: u64,
    pub installed: u64,
}

pub struct World {
    pub now: Now,
    pub hosts: Vec<Host>,
    pub net: Net,
    pub faults: Faults,
    pub trace: Trace,
    clients: Clients,
    leases: Leases,
    watchers: Watchers,
    watchdog: Watchdog,
    rough: bool,
    /// Which members the servers were when the faults began.
    founders: Vec<Option<NodeId>>,
}

/// Runs a seed from beginning to end on this thread.
pub fn run(seed: u64) -> Report {
    let mut world = World::begin(seed);
    if let Err(why) = world.live() {
        world.watchdog.wrong.push(why);
    }
    world.report(seed)
}

impl World {
    /// Nobody runs yet.
    pub fn begin(seed: u64) -> World {
        chance::seed(seed);
        clock::set_world(Now::ZERO);
        listen_for_panics();
        World::new()
    }

    fn new() -> World {
        let net = Net::new(chance::random());
        let (standby, edge) = (Dice.random_bool(0.4), Dice.random_bool(0.5));
        let servers = if standby { 4 } else { 3 };
        let roles = (0..servers).map(|_| Role::Server).chain(edge.then_some(Role::Edge));
        let tokens = Offline::generate().unwrap();
        let hosts: Vec<Host> =
            roles.enumerate().map(|(i, role)| Host::new(i, role, &net, &tokens)).collect();
        let watchers = Watchers::new(&hosts);
        World {
            now: Now::ZERO,
            hosts,
            net,
            faults: Faults::default(),
            trace: Trace::new(),
            clients: Clients::new(),
            leases: Leases::default(),
            watchers,
            watchdog: Watchdog::default(),
            rough: false,
            founders: Vec::new(),
        }
    }

    pub fn boot(&mut self, host: usize) {
        if !self.hosts[host].is_running() {
            self.trace.note(format!("h{host} starts"));
            let hosts = self.hosts.len();
            self.hosts[host].boot(hosts);
        }
    }

    pub fn crash(&mut self, host: usize, power: bool) {
        if !self.hosts[host].is_running() {
            return;
        }
        self.clients.lose(host, &mut self.trace);
        self.leases.lose(host, self.now);
        self.watchers.lose(host);
        self.hosts[host].crash(power);
    }

    /// The one that leads the newest term.
    pub fn leader(&self) -> Option<usize> {
        let standings = self.hosts.iter().filter_map(|host| {
            let standing = host.standing()?;
            (standing.raft == Some(RaftRole::Leader)).then_some((standing.term, host.index))
        });
        standings.max().map(|(_, index)| index)
    }

    fn step(&mut self) {
        self.now += TICK;
        for host in &mut self.hosts {
            host.turn(self.now);
        }
        clock::set_world(self.now);
        for host in 0..self.hosts.len() {
            if self.hosts[host].is_running() && self.hosts[host].disk.is_dead() {
                self.trace.note(format!("h{host} loses power as it writes"));
                self.crash(host, true);
            }
        }
        let World { now, hosts, trace, .. } = self;
        self.clients.step(*now, hosts, trace);
        self.leases.step(*now, self.clients.open, hosts, trace);
        self.watchers.step(*now, hosts);
        self.watchdog.step(*now, hosts, trace);
        if self.rough {
            faults::step(self);
        }
        faults::supervise(self);
    }

    /// Goes on for a while; an error as soon as something is wrong.
    pub fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while self.now < end {
            self.step();
            if !self.watchdog.wrong.is_empty() {
                return Err("so it ends".to_owned());
            }
        }
        Ok(())
    }

    pub fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Result<(), String> {
        let end = self.now + PATIENCE;
        while !holds(self) {
            if self.now >= end {
                let show = |host: &Host| format!("{:?} {:?}", host.standing(), host.complaints());
                let hosts: Vec<String> = self.hosts.iter().map(show).collect();
                return Err(format!("in vain: {what}; {}", hosts.join("\n  ")));
            }
            self.pass(TICK * 10)?;
        }
        Ok(())
    }

    pub fn found(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            self.boot(host);
            self.pass(Duration::from_millis(Dice.random_range(2..300)))?;
        }
        self.until("all servers take part", World::is_complete)
    }

    fn live(&mut self) -> Result<(), String> {
        self.found()?;
        let already = self.clients.history.acknowledged();
        self.until("the first writes", |world| {
            world.clients.history.acknowledged() >= already.max(WARM)
        })?;
        self.founders = self.ids();
        self.trace.note("faults begin");
        self.faults.begin(self.now);
        self.rough = true;
        self.pass(Duration::from_millis(Dice.random_range(ROUGH)))?;
        self.rough = false;
        self.recover()?;
        self.make_it_count()?;
        self.clients.open = false;
        self.until("nobody waits for an answer", |world| world.clients.are_idle())?;
        self.until("all have the same", World::is_level)?;
        self.until("leases end", |world| world.leases.left().is_empty())?;
        self.until("all have the same", World::is_level)
    }

    /// Everything is well again, and the cluster must be so too.
    fn recover(&mut self) -> Result<(), String> {
        faults::heal(self);
        self.until("all servers take part again", World::is_complete)?;
        let before = self.clients.history.acknowledged();
        self.until("writes again", |world| world.clients.history.acknowledged() >= before + 10)
    }

    /// A run without a change of leader, or in which nobody was given a snapshot, shows too little:
    /// what chance has left out is done to a cluster that is well.
    fn make_it_count(&mut self) -> Result<(), String> {
        while self.watchdog.elections < 2 {
            let Some(leader) = self.leader() else { return Err("nobody leads".to_owned()) };
            faults::inject(self, Fault::Isolate(leader), PATIENCE);
            self.until("another leader", |world| world.watchdog.elections > 1)?;
            self.recover()?;
        }
        for _ in 0..5 {
            if self.installed() > 0 {
                break;
            }
            let leader = self.leader();
            let other = (0..3).find(|host| Some(*host) != leader).unwrap_or(0);
            faults::inject(self, Fault::Isolate(other), PATIENCE);
            self.pass(Duration::from_secs(4))?;
            self.recover()?;
        }
        Ok(())
    }

    fn servers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_server())
    }

    fn ids(&self) -> Vec<Option<NodeId>> {
        self.servers().map(|host| host.standing().map(|standing| standing.id)).collect()
    }

    /// Who has lost its disk has lost its votes, too, and must be another; nobody else may be.
    fn strangers(&self) -> Vec<String> {
        let ids = self.founders.iter().zip(self.ids()).enumerate();
        let odd = ids
            .filter(|(host, (before, now))| (self.faults.wiped == Some(*host)) == (*before == now));
        odd.map(|(host, (before, now))| format!("h{host} was {before:?} and is {now:?}")).collect()
    }

    fn installed(&self) -> u64 {
        self.hosts.iter().map(Host::installed).sum()
    }

    /// Every server knows one leader, three vote, and all are synced.
    fn is_complete(&self) -> bool {
        let standings = self.hosts.iter().map(Host::standing);
        let Some(standings) = standings.collect::<Option<Vec<_>>>() else { return false };
        let leader = standings.first().and_then(|standing| standing.leader);
        leader.is_some()
            && standings.iter().all(|standing| {
                standing.synced && standing.leader == leader && standing.voters.len() == 3
            })
    }

    fn is_level(&self) -> bool {
        let states: Option<Vec<_>> =
            self.hosts.iter().map(|host| Some(host.cluster()?.snapshot())).collect();
        let Some(states) = states else { return false };
        let first = &states[0];
        states.iter().all(|state| state.applied() == first.applied())
    }

    fn report(mut self, seed: u64) -> Report {
        let mut wrong = std::mem::take(&mut self.watchdog.wrong);
        let states: Vec<_> =
            self.servers().filter_map(|host| Some(host.cluster()?.snapshot())).collect();
        if wrong.is_empty() {
            let sums: Vec<u32> = self
                .hosts
                .iter()
                .filter_map(|host| Some(host.cluster()?.snapshot().checksum(Part::Shared)))
                .collect();
            if sums.windows(2).any(|pair| pair[0] != pair[1]) {
                wrong.push(format!("the replicas differ: {sums:?}"));
            }
            self.clients.history.last = states.first().map(|state| rows(state));
            if self.watchdog.elections < 2 {
                wrong.push("the leader never changed: the run does not count".to_owned());
            }
            if self.installed() == 0 {
                wrong.push("nobody was given a snapshot: the run does not count".to_owned());
            }
        }
        let (installed, elections) = (self.installed(), self.watchdog.elections);
        let strangers = self.strangers();
        let mut history = self.clients.history;
        history.leases = self.leases.all();
        history.watches = self.watchers.into_watches();
        wrong.extend(history.check());
        wrong.extend(strangers);
        Report {
            seed,
            trace: self.trace.lines,
            wrong,
            virtual_time: self.now,
            faults: self.faults.injected,
            operations: history.operations.len(),
            acknowledged: history.acknowledged(),
            renewals: self.leases.renewals,
            elections,
            installed,
        }
    }
}

fn rows(state: &State) -> Vec<(String, String, u64)> {
    let all = state.keys_with_prefix(b"k");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    all.map(|(key, row)| (text(key), text(&row.value), at(row.modified))).collect()
}

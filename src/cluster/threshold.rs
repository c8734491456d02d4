//! Where an agent stands until it has its place: the door is not open yet.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{NodeId, Role};
use crate::telemetry::{Counter, Gauge, Metrics};

use super::acquaintance::Greeter;
use super::config::Config;
use super::{Door, Standing};

pub(super) struct Threshold {
    door: OnceLock<Door>,
    greeter: OnceLock<Greeter>,
    hoped: Role,
    since: Instant,
    proposals: Counter,
    failures: Counter,
    pending: Gauge,
}

/// A proposal under way, until its outcome is known or nobody waits for it any more.
pub(super) struct Proposing<'a>(&'a Threshold);

impl Proposing<'_> {
    pub fn ended(self, ok: bool) {
        self.0.proposals.inc();
        if !ok {
            self.0.failures.inc();
        }
    }
}

impl Drop for Proposing<'_> {
    fn drop(&mut self) {
        self.0.pending.dec();
    }
}

impl Threshold {
    pub fn new(config: &Config, metrics: &Metrics) -> Threshold {
        let failures = metrics.register(
            "cluster_proposal_failures",
            "Commands proposed by this agent that have no known outcome",
            Counter::default(),
        );
        let known = "etcd_server_proposals_failed";
        metrics.register_known(known, "The same, as etcd calls it", failures.clone());
        Threshold {
            door: OnceLock::new(),
            greeter: OnceLock::new(),
            hoped: if config.may_serve() { Role::Server } else { config.follows_as() },
            since: Instant::now(),
            proposals: metrics.register(
                "cluster_proposals",
                "Commands proposed by this agent",
                Counter::default(),
            ),
            failures,
            pending: metrics.register_known(
                "etcd_server_proposals_pending",
                "Commands proposed by this agent whose outcome is waited for",
                Gauge::default(),
            ),
        }
    }

    /// The agent has its place, for as long as it runs.
    pub fn open(&self, door: Door) {
        // It is opened once.
        let _ = self.door.set(door);
    }

    pub fn door(&self) -> Option<&Door> {
        self.door.get()
    }

    /// The agent can say who it is.
    pub fn greet_by(&self, greeter: Greeter) {
        // It is set once.
        let _ = self.greeter.set(greeter);
    }

    pub fn greeter(&self) -> Option<&Greeter> {
        self.greeter.get()
    }

    pub fn proposing(&self) -> Proposing<'_> {
        self.pending.inc();
        Proposing(self)
    }

    /// Who an agent without a place is.
    pub fn standing(&self) -> Standing {
        Standing {
            id: NodeId(0),
            role: self.hoped,
            raft: None,
            leader: None,
            leader_addr: None,
            term: 0,
            committed: 0,
            voters: Vec::new(),
            membership: 0,
            synced: false,
            last_contact: self.since.elapsed().max(Duration::from_millis(1)),
            upstream: None,
        }
    }
}

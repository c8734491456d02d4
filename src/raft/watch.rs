//! Keeps the status and the metrics of a server's Raft true.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::replica::Replica;
use crate::telemetry::{Counter, Gauge, Metrics};

use super::node::Core;
use super::status::{Role, Status};

/// Under load openraft's figures change with every batch; readers of the status need not.
const PACE: Duration = Duration::from_millis(10);

/// What the registry shows of Raft.
pub(super) struct Gauges {
    term: Gauge,
    leads: Gauge,
    applied: Gauge,
    leaders: Counter,
}

impl Gauges {
    pub(super) fn new(metrics: &Metrics) -> Gauges {
        Gauges {
            term: metrics.register("raft_term", "Raft's current term", Gauge::default()),
            leads: metrics.register("raft_leader", "1 while this server leads", Gauge::default()),
            applied: metrics.register(
                "raft_applied_index",
                "Index of the last applied log entry",
                Gauge::default(),
            ),
            leaders: metrics.register_known(
                "etcd_server_leader_changes_seen",
                "How often this server has heard of another leader than before",
                Counter::default(),
            ),
        }
    }

    fn show(&self, status: &Status) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.term.set(gauge(status.term));
        self.leads.set(i64::from(status.leads()));
        self.applied.set(gauge(status.applied.map_or(0, |applied| applied.index)));
    }
}

/// Keeps the status true for as long as Raft runs.
pub(super) fn statuses(core: &Core, replica: &Replica, gauges: Gauges) -> watch::Receiver<Status> {
    let (server, data) = (core.server_metrics(), core.data_metrics());
    let replica = replica.clone();
    // What was known to be committed has been replayed before openraft was handed out.
    let mut synced = replica.snapshot().applied().index > 0;
    let mut led = None;
    let mut look = move || {
        let (server, data) = (server.borrow_watched().clone(), data.borrow_watched().clone());
        let mut status = Status::of(&server, &data);
        let caught_up = status.committed.is_some_and(|committed| {
            committed.index > 0 && replica.snapshot().applied().index >= committed.index
        });
        synced |= status.leader.is_some() && caught_up;
        status.synced = synced;
        gauges.show(&status);
        if status.leader.is_some() && std::mem::replace(&mut led, status.leader) != status.leader {
            gauges.leaders.inc();
        }
        status
    };
    let (sender, receiver) = watch::channel(look());
    let (mut server, mut data) = (core.server_metrics(), core.data_metrics());
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = server.changed() => changed,
                changed = data.changed() => changed,
            };
            let mut status = look();
            let ended = changed.is_err();
            if ended {
                status.role = Role::Stopped;
                status.leader = None;
            }
            sender.send_if_modified(|shown| {
                let differs = *shown != status;
                *shown = status;
                differs
            });
            if ended {
                return;
            }
            sleep(PACE).await;
        }
    });
    receiver
}

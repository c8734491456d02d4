//! The background of a server's Raft: its status shown, its snapshots taken when they are due.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::TypeConfigExt;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::replica::Replica;
use crate::telemetry::{Gauge, Metrics};

use super::node::Core;
use super::retention::snapshot_due;
use super::snapshot::{self, SnapshotStore};
use super::status::{Role, Status};
use super::types::Types;
use super::wal::Pressure;

/// Under load openraft's figures change with every batch; readers of the status need not.
const PACE: Duration = Duration::from_millis(10);
/// How often it is asked whether a snapshot is due, and how long a failed one rests.
const UPKEEP_PACE: Duration = Duration::from_secs(1);

/// What the registry shows of Raft.
pub(super) struct Gauges {
    term: Gauge,
    leads: Gauge,
    applied: Gauge,
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
    let mut look = move || {
        let (server, data) = (server.borrow_watched().clone(), data.borrow_watched().clone());
        let mut status = Status::of(&server, &data, Types::now());
        let caught_up = status.committed.is_some_and(|committed| {
            committed.index > 0 && replica.snapshot().applied().index >= committed.index
        });
        synced |= status.leader.is_some() && caught_up;
        status.synced = synced;
        gauges.show(&status);
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

/// Takes snapshots when the log has grown enough, and steps aside where it cannot grow.
pub(super) struct Upkeep {
    pub(super) core: Core,
    pub(super) store: SnapshotStore,
    pub(super) pressure: Arc<Pressure>,
    pub(super) status: watch::Receiver<Status>,
    /// Bytes of log below which no snapshot is due.
    pub(super) floor: u64,
}

impl Upkeep {
    /// A leader whose disk is full would refuse every write, though others could take them.
    async fn step_aside(&self) {
        if !self.pressure.is_full() {
            return;
        }
        let heir = self.status.borrow().heir();
        if let Some(heir) = heir {
            tracing::warn!(%heir, "the disk is full: another server is asked to lead");
            // It fails only where openraft has ended.
            let _ = self.core.trigger().transfer_leader(heir.0).await;
        }
    }

    pub(super) fn spawn(self) {
        let mut server = self.core.server_metrics();
        tokio::spawn(async move {
            let mut taken_at = 0;
            loop {
                tokio::select! {
                    () = sleep(UPKEEP_PACE) => {}
                    changed = server.changed() => if changed.is_err() { return },
                }
                self.step_aside().await;
                let written = self.pressure.written();
                let last = self.store.newest().map_or(0, |newest| newest.bytes);
                if !snapshot_due(written - taken_at, last, self.floor) {
                    continue;
                }
                match take_snapshot(&self.core, &self.store).await {
                    Ok(()) => taken_at = written,
                    Err(error) => tracing::warn!(%error, "a snapshot could not be taken"),
                }
            }
        });
    }
}

/// Writes a snapshot of the present state and tells openraft, which then purges the log before it.
/// Written before openraft hears of it, as openraft stops for good where building one fails.
pub(super) async fn take_snapshot(core: &Core, store: &SnapshotStore) -> Result<(), String> {
    let view = core.with_state_machine(|machine| Box::pin(std::future::ready(machine.view())));
    let (meta, state) = view.await.map_err(|fatal| fatal.to_string())?;
    let newest = store.newest().and_then(|newest| newest.meta.last_log_id);
    if meta.last_log_id <= newest {
        return Ok(());
    }
    let store = store.clone();
    let written = tokio::task::spawn_blocking(move || {
        let bytes = snapshot::encode(&meta, &state)?;
        store.save(&meta, &bytes)
    });
    written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    core.trigger().snapshot().await.map_err(|fatal| fatal.to_string())
}
